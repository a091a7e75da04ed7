//! An authority of the test's own, and certificates of `localhost` and of another host.

use std::path::PathBuf;
use std::process::Command;

use super::tool;

pub struct Certificates {
    pub directory: PathBuf,
}

impl Certificates {
    /// Makes them in a new directory.
    pub fn make(directory: PathBuf) -> Self {
        std::fs::create_dir(&directory).expect("a directory");
        let made = Self { directory };
        let mut authority = made.request("ca", "Test CA");
        authority.args(["-x509", "-days", "2", "-addext", "basicConstraints=critical,CA:TRUE"]);
        tool(authority.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", "ca.pem"]));
        made.certify("srv", "localhost", "DNS:localhost,IP:127.0.0.1");
        made.certify("wrong", "wrong.example", "DNS:wrong.example");
        made
    }

    fn request(&self, name: &str, subject: &str) -> Command {
        let mut command = self.openssl();
        command.args(["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        command.args(["-subj", &format!("/CN={subject}"), "-keyout", &format!("{name}.key")]);
        command
    }

    fn openssl(&self) -> Command {
        let mut command = Command::new("openssl");
        command.current_dir(&self.directory);
        command
    }

    fn certify(&self, name: &str, subject: &str, names: &str) {
        tool(self.request(name, subject).args(["-out", &format!("{name}.csr")]));
        let extensions = format!("subjectAltName={names}\nextendedKeyUsage=serverAuth\n");
        std::fs::write(self.directory.join(format!("{name}.ext")), extensions).expect("a file");
        let mut sign = self.openssl();
        sign.args(["x509", "-req", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]);
        sign.args(["-in", &format!("{name}.csr"), "-extfile", &format!("{name}.ext"), "-out", &format!("{name}.pem")]);
        tool(&mut sign);
    }

    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// Certificate and key of the host whose name is `localhost`.
    pub fn own(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("srv.pem"), self.directory.join("srv.key"))
    }

    /// Those of a host with another name.
    pub fn wrong(&self) -> (PathBuf, PathBuf) {
        (self.directory.join("wrong.pem"), self.directory.join("wrong.key"))
    }
}
