# SPDX-License-Identifier: MIT
"""A certificate authority of one's own, made with the openssl command: throwaway keys in one folder."""

import hashlib
import os
import ssl
import subprocess


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

    def issue(self, stem, names=("DNS:localhost", "IP:127.0.0.1"), days=2):
        """Signs a server certificate for the names; returns (certificate, key), both paths."""
        key, csr, cert, ext = (self._path(stem + end) for end in (".key", ".csr", ".pem", ".ext"))
        _openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                 "-subj", "/CN=mailfs test server", "-keyout", key, "-out", csr)
        with open(ext, "w", encoding="ascii") as out:
            out.write("subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n" % ",".join(names))
        _openssl("x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", self._path("ca.key"), "-CAcreateserial",
                 "-days", str(days), "-extfile", ext, "-out", cert)
        return cert, key


def fingerprint(cert):
    """The SHA-256 of a PEM certificate, in hex."""
    with open(cert, encoding="ascii") as pem:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.read())).hexdigest()
