/* SPDX-License-Identifier: MIT */
/*
 * mailfs mounts a remote mailbox as a folder. The map of the code (src/ARCHITECTURE.md is the long form):
 *
 *   cli     main, options, config, passwords, going to the background     wires everything, here
 *   control the socket on which a mount answers mailfsctl
 *   fs      FUSE requests and replies                                     the only user of <fuse_lowlevel.h>
 *   tree    directories, files, names, views                              knows neither FUSE nor the network
 *   sync    an account at work: connections, workers, what is fetched     the only user of source and store
 *   store   what is kept on this machine, as cache or for good            the only user of <sqlite3.h>
 *   imap    a source of mail (include/mailfs/source.h)                    the only user of libetpan's protocol calls
 *   pop3    a maildrop (include/mailfs/maildrop.h)
 *   net     the connection, TLS, framing, limits, SASL                    the only user of <openssl/…>
 *   mime    headers, structure, decoding, names                           pure: bytes in, values out
 *   util    strings, lists, clock, log, secrets
 *
 * Arrows point downwards only; what a module offers stands in include/mailfs/MODULE.h.
 *
 * A run: args.c and options.c read the command line, config.c the account's section, url.c the address; settings.c makes
 * them one; mountpoint.c checks the directory; daemon.c forks; password.c asks; session.c connects, lists, mounts and serves,
 * and takes it all down again.
 */
#include <fcntl.h>

#include "inherited.h"
#include "run.h"

/* A caller may have closed some (`>&-`): a pipe or a socket of ours must not get their numbers. */
static void fill_standard_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return;
}

int main(int argc, char **argv)
{
	fill_standard_descriptors();
	inherited_note();
	return run(argc, argv);
}
