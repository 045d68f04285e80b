# SPDX-License-Identifier: MIT
"""A certificate authority of one's own, made with the openssl command: throwaway keys in one folder."""

import hashlib
import os
import ssl
import subprocess


CONFIG = """[ca]
default_ca = one
[one]
database = %(base)s.index
serial = %(base)s.serial
default_md = sha256
policy = any
[any]
commonName = optional
"""


def _openssl(*args):
    subprocess.run(["openssl", *args], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


class Authority:
    """A CA in a folder. Its certificate is `ca`; issue() makes server certificates that it has signed."""

    def __init__(self, folder, name="mailfs test CA"):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca = self._path("ca.pem")
        _openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-days", "2", "-subj", "/CN=" + name, "-keyout", self._path("ca.key"), "-out", self.ca,
                 "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def _path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, stem, names=("DNS:localhost", "IP:127.0.0.1"), days=2, **odd):
        """
        Signs a server certificate for the names; returns (certificate, key), both paths.
        odd: common_name; key, arguments of `openssl req`; digest; usage; authority: it is one itself; issuer: (certificate, key) of another
        that signs; alternative: the value of subjectAltName, None: there is none; start, end: YYYYMMDDHHMMSSZ.
        """
        key, csr, cert, ext = (self._path(stem + end) for end in (".key", ".csr", ".pem", ".ext"))
        _openssl("req", "-newkey", *odd.get("key", ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")), "-nodes",
                 "-subj", "/CN=" + odd.get("common_name", "mailfs test server"), "-keyout", key, "-out", csr)
        alternative = odd.get("alternative", ",".join(names))
        with open(ext, "w", encoding="ascii") as out:
            out.write("subjectAltName=%s\n" % alternative if alternative else "")
            out.write("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n" if odd.get("authority") else
                      "extendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n" % odd.get("usage", "serverAuth"))
        issuer = odd.get("issuer", (self.ca, self._path("ca.key")))
        if "start" in odd or "end" in odd:
            self._sign_between(stem, csr, cert, ext, issuer, odd)
        else:
            _openssl("x509", "-req", "-in", csr, "-CA", issuer[0], "-CAkey", issuer[1], "-CAcreateserial",
                     "-days", str(days), "-extfile", ext, "-out", cert, "-" + odd.get("digest", "sha256"))
        return cert, key

    def _sign_between(self, stem, csr, cert, ext, issuer, odd):
        """`openssl x509` knows only days from now on."""
        base = self._path(stem)
        for end, text in ((".index", ""), (".serial", "01\n"), (".cnf", CONFIG % {"base": base})):
            with open(base + end, "w", encoding="ascii") as out:
                out.write(text)
        _openssl("ca", "-batch", "-notext", "-config", base + ".cnf", "-cert", issuer[0], "-keyfile", issuer[1], "-in", csr, "-extfile", ext,
                 "-startdate", odd.get("start", "20200101000000Z"), "-enddate", odd.get("end", "20491231000000Z"),
                 "-out", cert, "-outdir", self.folder)


def fingerprint(cert):
    """The SHA-256 of a PEM certificate, in hex."""
    with open(cert, encoding="ascii") as pem:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read())).hexdigest()
