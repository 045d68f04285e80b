/* SPDX-License-Identifier: MIT */
/*
 * mailfs mounts a remote mailbox as a folder. The map of the code (src/ARCHITECTURE.md is the long form):
 *
 *   cli     main, options, config, passwords, going to the background     wires everything, here
 *   fs      FUSE requests and replies                                     the only user of <fuse_lowlevel.h>
 *   tree    directories, files, names, views                              knows neither FUSE nor the network
 *   sync    an account at work: connections, workers, what is fetched     the only user of source and store
 *   store   what is kept on this machine                                  the only user of <sqlite3.h>
 *   imap    a source of mail (include/mailfs/source.h)                    the only user of libetpan's protocol calls
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
#include "run.h"

int main(int argc, char **argv)
{
	return run(argc, argv);
}
