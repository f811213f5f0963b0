//! A worker gives up its rights, for good and before it reads a byte of the file.
//!
//! What holds afterwards: it dies with its parent; it has no files but its three pipes and can open none; it can
//! make no socket, process or thread; memory and processor time are limited. Each of these is by the kernel, so
//! it holds for whatever code a file might bring to run here. If one cannot be had, nothing is read. The one
//! exception is Landlock, which kernels before 5.13 do not have: the filter of system calls lets nothing be opened
//! to begin with, so it is a second lock on the same door. Text recognition has to open files and is refused
//! without it.

use super::error::Unreadable;
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use nix::libc;
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getrlimit, set_parent_process_death_signal, setrlimit,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::path::Path;

/// Deep recursion ends here. It differs from what the program began with, so that the language's own handler
/// does not know the place: a stack that is used up ends with SIGSEGV, and SIGABRT means that memory is.
const STACK: u64 = 64 << 20;

/// Addresses that the program takes before it reads: its code, mostly. If it is more, something is kept in
/// store that the limit of memory would not count.
const MOST_AT_START: u64 = 512 << 20;

/// Descriptors of text recognition: its libraries and language data are open one after another.
const SCAN_FILES: u64 = 32;

/// The newest version of Landlock whose rights are named here; older kernels enforce those that they know.
const LANDLOCK: ABI = ABI::V6;

type Done = Result<(), Unreadable>;

fn failed(what: &str) -> Unreadable {
    Unreadable::NotConfined { what: what.to_owned() }
}

/// What comes first in every worker: no descriptor but the three, death with the parent, no new privileges.
pub fn begin() -> Done {
    close_descriptors()?;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|_| failed("PR_SET_PDEATHSIG"))?;
    rustix::thread::set_no_new_privs(true).map_err(|_| failed("no_new_privs"))
}

/// Whoever started the program may have left descriptors open that a started program keeps.
fn close_descriptors() -> Done {
    let missing = |_| failed("/proc/self/fd");
    let mut open = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").map_err(missing)? {
        let name = entry.map_err(missing)?.file_name();
        open.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()).filter(|number| *number > 2));
    }
    for number in open {
        // The one that listed the others is closed already.
        match nix::unistd::close(number) {
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(_) => return Err(failed("closing what is open")),
        }
    }
    Ok(())
}

/// For a worker that computes from its standard input to its standard output, and nothing else.
pub fn for_reading(memory: u64, seconds: u64) -> Done {
    let taken = address_space()?;
    // Best effort: see above.
    landlocked(Ok).map_err(|_| failed("Landlock"))?;
    limit(taken.saturating_add(memory), seconds, 3)?;
    filter(reading_calls()?)
}

/// For a worker that turns into `tesseract`: it may read what programs and language data are installed as, and
/// execute this one.
pub fn for_recognition(program: &Path, memory: u64, seconds: u64) -> Done {
    // What the kernel starts for it: the program, and what links its libraries.
    let executed =
        [program, Path::new("/lib64/ld-linux-x86-64.so.2"), Path::new("/lib/ld-linux-aarch64.so.1")];
    let read = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ld.so.preload"];
    let status = landlocked(|rules| {
        rules
            .add_rules(path_beneath_rules(read, AccessFs::ReadFile | AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(executed, AccessFs::Execute | AccessFs::ReadFile))
    })
    .map_err(|_| failed("Landlock"))?;
    if status.ruleset == RulesetStatus::NotEnforced {
        return Err(failed("Landlock"));
    }
    limit(memory, seconds, SCAN_FILES)?;
    filter(recognition_calls()?)
}

/// All of the file system, the network and other processes' signals; `rules` gives some of it back.
fn landlocked(
    rules: impl FnOnce(landlock::RulesetCreated) -> Result<landlock::RulesetCreated, RulesetError>,
) -> Result<RestrictionStatus, RulesetError> {
    let all: BitFlags<AccessFs> = AccessFs::from_all(LANDLOCK);
    let ruleset = Ruleset::default()
        .handle_access(all)?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    rules(ruleset)?.restrict_self()
}

/// Bytes of address space that the program itself takes, before it does anything.
fn address_space() -> Result<u64, Unreadable> {
    let missing = || failed("/proc/self/status");
    let status = std::fs::read_to_string("/proc/self/status").map_err(|_| missing())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).ok_or_else(missing)?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse().map_err(|_| missing())?;
    let taken = kilobytes.saturating_mul(1024);
    if taken > MOST_AT_START { Err(failed("a limit of memory")) } else { Ok(taken) }
}

fn limit(memory: u64, seconds: u64, files: u64) -> Done {
    let set = |resource, current: u64, maximum: u64| {
        setrlimit(resource, Rlimit { current: Some(current), maximum: Some(maximum) })
            .map_err(|_| failed("resource limits"))
    };
    let stack =
        getrlimit(Resource::Stack).maximum.map_or(STACK, |most| most.saturating_sub(1 << 20).min(STACK));
    set(Resource::Stack, stack, stack)?;
    set(Resource::As, memory, memory)?;
    set(Resource::Cpu, seconds, seconds.saturating_add(1))?;
    set(Resource::Nofile, files, files)?;
    set(Resource::Fsize, 0, 0)?;
    set(Resource::Nproc, 0, 0)?;
    set(Resource::Core, 0, 0)
}

/// A call, and what its arguments must be: each rule is one way in which it is allowed, none: any.
type Call = (i64, Vec<SeccompRule>);

/// The calls of a computation. Memory may not be made executable, and only the two pipes are read and written.
fn reading_calls() -> Result<Vec<Call>, Unreadable> {
    const FREE: [i64; 17] = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
    ];
    let execute = libc::PROT_EXEC as u64;
    let mut calls: Vec<Call> = FREE.iter().map(|call| (*call, Vec::new())).collect();
    calls.push((libc::SYS_read, vec![argument(0, SeccompCmpOp::Eq, 0)?]));
    calls.push((libc::SYS_write, vec![argument(0, SeccompCmpOp::Eq, 1)?]));
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.push((call, vec![argument(2, SeccompCmpOp::MaskedEq(execute), 0)?]));
    }
    calls.push((libc::SYS_tgkill, vec![own_process()?]));
    Ok(calls)
}

/// A program in C++ that loads libraries and data, and computes in one thread.
fn recognition_calls() -> Result<Vec<Call>, Unreadable> {
    #[cfg(target_arch = "x86_64")]
    const OLD: [i64; 7] = [
        libc::SYS_access,
        libc::SYS_arch_prctl,
        libc::SYS_lstat,
        libc::SYS_open,
        libc::SYS_readlink,
        libc::SYS_stat,
        libc::SYS_time,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    const OLD: [i64; 0] = [];
    const FREE: [i64; 33] = [
        libc::SYS_close,
        libc::SYS_execve,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_fadvise64,
        libc::SYS_fcntl,
        libc::SYS_fstat,
        libc::SYS_getcwd,
        libc::SYS_getdents64,
        libc::SYS_getegid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_gettimeofday,
        libc::SYS_getuid,
        libc::SYS_lseek,
        libc::SYS_membarrier,
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_newfstatat,
        libc::SYS_openat,
        libc::SYS_pread64,
        libc::SYS_read,
        libc::SYS_readlinkat,
        libc::SYS_readv,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_set_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_statx,
        libc::SYS_sysinfo,
        libc::SYS_uname,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    let own = reading_calls()?.into_iter().filter(|(call, _)| !FREE.contains(call));
    let free = FREE.iter().chain(&OLD).map(|call| (*call, Vec::new()));
    let mut calls: Vec<Call> = own.chain(free).collect();
    // To ask for a limit, not to set one.
    calls.push((libc::SYS_prlimit64, vec![argument(2, SeccompCmpOp::Eq, 0)?]));
    Ok(calls)
}

/// Ending oneself with a signal, as a program does when memory is used up.
fn own_process() -> Result<SeccompRule, Unreadable> {
    let own = u64::try_from(getpid().as_raw_nonzero().get()).map_err(|_| failed("its own number"))?;
    argument(0, SeccompCmpOp::Eq, own)
}

fn argument(index: u8, operation: SeccompCmpOp, value: u64) -> Result<SeccompRule, Unreadable> {
    SeccompCondition::new(index, SeccompCmpArgLen::Dword, operation, value)
        .and_then(|condition| SeccompRule::new(vec![condition]))
        .map_err(|_| failed("seccomp"))
}

/// From here on every other call fails with EPERM.
fn filter(calls: Vec<Call>) -> Done {
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let machine = std::env::consts::ARCH.try_into().map_err(|_| failed("seccomp"))?;
    let filter = SeccompFilter::new(calls.into_iter().collect(), refused, SeccompAction::Allow, machine);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(|_| failed("seccomp"))?;
    seccompiler::apply_filter_all_threads(&program).map_err(|_| failed("seccomp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind::PermissionDenied;
    use std::process::Command;

    /// Runs in a thread of its own, which ends with its rights.
    fn after(
        calls: fn() -> Result<Vec<Call>, Unreadable>,
        tries: fn() -> Vec<std::io::ErrorKind>,
    ) -> Vec<std::io::ErrorKind> {
        let thread = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            let machine = std::env::consts::ARCH.try_into().unwrap();
            let refused = SeccompAction::Errno(libc::EPERM as u32);
            let rules = calls().unwrap().into_iter().collect();
            let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, machine).unwrap();
            let program: BpfProgram = filter.try_into().unwrap();
            seccompiler::apply_filter(&program).unwrap();
            tries()
        });
        thread.join().unwrap()
    }

    fn denied<T>(result: std::io::Result<T>) -> std::io::ErrorKind {
        result.err().map_or(std::io::ErrorKind::Other, |error| error.kind())
    }

    #[test]
    fn a_reader_can_open_connect_and_start_nothing() {
        let tries = || {
            vec![
                denied(std::fs::File::open("/etc/passwd")),
                denied(std::fs::read_dir("/")),
                denied(std::fs::write("/tmp/never", "")),
                denied(std::net::TcpListener::bind("127.0.0.1:0")),
                denied(std::os::unix::net::UnixStream::pair()),
                denied(Command::new("/bin/true").status()),
                denied(std::thread::Builder::new().spawn(|| {})),
                denied(rustix::process::kill_process(getpid(), Signal::CONT).map_err(Into::into)),
            ]
        };
        assert_eq!(after(reading_calls, tries), [PermissionDenied; 8]);
    }

    #[test]
    fn recognition_can_neither_connect_nor_start_anything_beside_it() {
        let tries = || {
            vec![
                denied(std::net::TcpListener::bind("127.0.0.1:0")),
                denied(std::thread::Builder::new().spawn(|| {})),
                denied(std::fs::create_dir("/tmp/never")),
                denied(std::fs::remove_file("/tmp/never")),
            ]
        };
        assert_eq!(after(recognition_calls, tries), [PermissionDenied; 4]);
    }
}
