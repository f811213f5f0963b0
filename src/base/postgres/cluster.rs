//! A PostgreSQL server that a test starts in a folder of its own. The tests of the whole program use this file, too.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server on loopback, which ends with the test.
pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub server: Child,
    pub port: u16,
    settings: Vec<String>,
}

fn program(name: &str) -> PathBuf {
    let of_debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = of_debian.map(|version| version.path().join("bin").join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| PathBuf::from(name))
}

/// PostgreSQL refuses to run as root; nobody will do.
fn user() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(65_534)
}

fn command(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.current_dir(folder).env("LC_ALL", "C.UTF-8");
    user().map(|user| command.uid(user).gid(user));
    command
}

fn serve(mut postgres: Command, port: u16, settings: &[String]) -> Child {
    postgres
        .args(["-D", "data", "-p", &port.to_string(), "-c", "listen_addresses=localhost", "-c", "ssl=on"])
        .args(["-c", "unix_socket_directories="])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

impl Cluster {
    /// With TLS, and these settings.
    pub fn with(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let user = user();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(folder.path().join("admin"), "admin secret").unwrap();
        if let Some(user) = user {
            for path in [folder.path(), &data, &folder.path().join("admin")] {
                std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
            }
        }
        let run = |name: &str| command(folder.path(), name);
        let made = run("initdb")
            .args([
                "-D",
                "data",
                "-U",
                "admin",
                "--pwfile=admin",
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
                "--no-sync",
            ])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let openssl = run("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ])
            .args(["-keyout", "data/server.key", "-out", "data/server.crt"])
            .output()
            .unwrap();
        assert!(openssl.status.success(), "{}", String::from_utf8_lossy(&openssl.stderr));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let server = serve(run("postgres"), port, &settings);
        Self { folder, server, port, settings }
    }

    /// Ends the server, with SIGINT (fast: whoever is connected is thrown out) or SIGQUIT (immediate: as if it had crashed).
    pub fn stop(&mut self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.server.id().to_string()]).status();
        assert!(sent.unwrap().success());
        self.server.wait().unwrap();
    }

    /// Starts it again on what it left.
    pub fn start(&mut self) {
        self.server = serve(command(self.folder.path(), "postgres"), self.port, &self.settings);
    }

    pub fn url(&self, user: &str, rest: &str) -> String {
        format!("postgres://{user}@localhost:{}/postgres{rest}", self.port)
    }

    /// As a list of hosts has it.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// As the server's administrator, once it is up.
    pub async fn run(&self, sql: &str) {
        let mut config: tokio_postgres::Config = self.url("admin", "").parse().unwrap();
        config.password("admin secret");
        for _ in 0..200 {
            if let Ok((client, connection)) = config.connect(tokio_postgres::NoTls).await {
                tokio::spawn(connection);
                client.batch_execute(sql).await.unwrap();
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server did not come up");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A fast shutdown (SIGINT), so that no process of the server is left behind.
        let id = self.server.id().to_string();
        let _ = Command::new("kill").args(["-INT", &id]).status();
        let _ = self.server.wait();
    }
}
