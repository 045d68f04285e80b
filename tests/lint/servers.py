# SPDX-License-Identifier: MIT
"""contrib/servers, with an apt-get that is made up: what is there is kept until what is newer is there as a whole. servers.py SOURCE-ROOT"""

import os
import subprocess
import sys
import tempfile

TOOLS = {
    "apt-get": """case "$*" in
*" -s "*) [ ! -e "$STATE/no-plan" ] || exit 1; for v in $(cat "$STATE/version"); do echo "Inst server ($v Debian [amd64])"; done ;;
*download*) [ ! -e "$STATE/no-download" ] || exit 1; cp "$STATE/version" server.deb ;;
esac""",
    "apt-cache": "exit 0",
    "dpkg-deb": """[ ! -e "$STATE/no-unpack" ] || exit 1; mkdir -p "$3/usr" && cp "$2" "$3/usr/server" """,
}


class World:
    def __init__(self, source, place):
        self.source, self.place = source, place
        os.mkdir(place + "/bin")
        for name, text in TOOLS.items():
            with open("%s/bin/%s" % (place, name), "w", encoding="ascii") as file:
                file.write("#!/bin/sh\n%s\n" % text)
            os.chmod(file.name, 0o755)

    def set(self, name, text=""):
        with open(os.path.join(self.place, name), "w", encoding="ascii") as file:
            file.write(text)

    def fetch(self):
        """What popa3d's folder holds afterwards: (version unpacked, list, why not)."""
        base = self.place + "/servers"
        for folder in os.listdir(base) if os.path.isdir(base) else []:
            if os.path.exists(os.path.join(base, folder, "complete")):  # older than the last change of the system's packages
                os.utime(os.path.join(base, folder, "complete"), (1, 1))
        subprocess.run([self.source + "/contrib/servers", base], env=dict(os.environ, STATE=self.place, PATH=self.place + "/bin:" + os.environ["PATH"]),
                       stderr=subprocess.DEVNULL, check=True, timeout=60)
        found = []
        for name in "root/usr/server", "complete", "why-not":
            path = os.path.join(base, "popa3d", name)
            text = None
            if os.path.exists(path):
                with open(path, encoding="ascii") as file:
                    text = file.read().strip()
            found.append(text)
        return tuple(found)


def all_installed(source):
    """From the first run on: there is nothing to fetch, and the folder that is laid over the system is there, and empty."""
    with tempfile.TemporaryDirectory(prefix="mailfs-servers-") as place:
        world = World(source, place)
        world.set("version", "")
        assert world.fetch() == (None, "", None)
        assert os.listdir(place + "/servers/popa3d/root") == []


def main(source):
    if not os.path.exists("/var/lib/dpkg/status"):
        sys.exit(77)  # no Debian
    all_installed(source)
    with tempfile.TemporaryDirectory(prefix="mailfs-servers-") as place:
        world = World(source, place)
        world.set("version", "1")
        world.set("no-download")
        none = world.fetch()
        assert none[:2] == (None, None) and "download failed" in none[2], none
        os.unlink(place + "/no-download")
        assert world.fetch() == ("1", "server=1", None)
        world.set("version", "2")
        for failure in "no-plan", "no-download", "no-unpack":
            world.set(failure)
            assert world.fetch() == ("1", "server=1", None), failure
            os.unlink(os.path.join(place, failure))
        assert world.fetch() == ("2", "server=2", None)
        world.set("version", "")  # all of it is installed by now
        assert world.fetch() == (None, "", None)


if __name__ == "__main__":
    main(sys.argv[1])
