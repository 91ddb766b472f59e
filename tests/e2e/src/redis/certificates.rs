//! Certificates for TLS.

use std::{fs, path::PathBuf, process::Command};

use super::folder::Folder;

/// The certificates of a server, in PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes an authority, and a certificate for 127.0.0.1.
    pub fn make(folder: &Folder) -> Self {
        let certificates = Self {
            folder: folder.path().to_owned(),
        };
        certificates.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=root \
             -keyout root.key -out root.pem",
        );
        certificates.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=server -keyout server.key \
             -out server.csr",
        );
        fs::write(certificates.file("names"), "subjectAltName=IP:127.0.0.1\n").expect("the folder should be writable");
        certificates.openssl(
            "x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile names \
             -out server.pem",
        );
        certificates
    }

    /// Returns the certificate of the authority, in PEM.
    pub fn root(&self) -> Vec<u8> {
        self.read("root.pem")
    }

    /// Returns the certificate of the server, and its key. Clients may use them as well.
    pub fn server(&self) -> (Vec<u8>, Vec<u8>) {
        (self.read("server.pem"), self.read("server.key"))
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).expect("the file should be there")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn openssl(&self, arguments: &str) {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.folder)
            .output()
            .expect("openssl is missing; tests/run installs it");
        assert!(
            output.status.success(),
            "openssl {arguments}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
