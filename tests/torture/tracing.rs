//! The calls of single threads of a service, seen and spoilt by strace.

use super::bank::Node;
use super::{Process, all};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Every call that touches a file.
pub const CALLS: &str = "trace=%file,read,pread64,readv,preadv,write,pwrite64,writev,pwritev,fsync,fdatasync,\
    sync_file_range,ftruncate,fallocate,close,fcntl,flock,fstat,lseek,getdents64";

/// The threads that write to SQLite: that of the keys, which are opened first, and that of the ledger.
pub fn writers(service: &Node) -> [u32; 2] {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.process.0.id())).unwrap();
    let mut found: Vec<u32> = tasks
        .map(|task| task.unwrap().path())
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "ledger\n"))
        .map(|task| task.file_name().unwrap().to_str().unwrap().parse().unwrap())
        .collect();
    found.sort_unstable();
    found.try_into().unwrap()
}

/// Follows a thread from now on, and writes what it does to a file. `None` where the system refuses.
pub fn attach(thread: u32, arguments: &[&str], out: &Path) -> Option<Process> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "strace", "-p", &thread.to_string(), "-o"]).arg(out).args(arguments);
    let mut process = Process::start(command.stderr(Stdio::piped()));
    let told = BufReader::new(process.0.stderr.take().unwrap()).lines().next();
    told.is_some_and(|line| line.unwrap().contains("attached")).then_some(process)
}

/// Begins a command that starts a program and records all that it writes, faithfully: the program keeps the process id.
pub fn recording(out: &Path) -> Command {
    const CALLS: &str = "trace=openat,write,pwrite64,writev,pwritev,fsync,fdatasync,sync_file_range,ftruncate,fallocate,\
        unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,link,linkat,sendto,sendmsg";
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "strace", "-D", "-f", "-y", "-xx", "-s", "9999999", "-e", CALLS]);
    command.arg("--seccomp-bpf").arg("-o").arg(out);
    command
}

/// Where strace may not be used, a full run fails, and a sample says that it was left out.
pub fn refused() {
    let why = "strace is missing (apt-get install strace) or may not attach to a process";
    assert!(!all(), "{why}");
    println!("torture: skipped, {why}");
}
