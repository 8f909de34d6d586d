//! Counting: what runs under callgrind, and who reads what it has counted.
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Says which group to run, under callgrind.
pub(crate) const GROUP: &str = "CHAT_COUNTS_GROUP";
/// A file that is there once the counting is turned on.
const GO: &str = "CHAT_COUNTS_GO";

/// Instructions of one call, by what was called.
pub(crate) type Counted = BTreeMap<String, u64>;

/// Runs a call that is counted. Callgrind knows it by this name, so it has to stay a function.
#[inline(never)]
pub(crate) fn counted_call(call: &mut dyn FnMut()) {
    call();
}

/// Ends what is counted under one name. Callgrind writes down its counts when it is entered.
#[inline(never)]
pub(crate) fn report(name: &str, calls: u64) {
    println!("counted {calls} {name}");
}

/// Waits until the counting is turned on. It is busy meanwhile, since Valgrind hears only programs
/// that run.
pub(crate) fn all_is_set_up() {
    println!("ready");
    let Some(go) = std::env::var_os(GO) else { return };
    while !Path::new(&go).exists() {
        std::hint::spin_loop();
    }
}

/// Counts all groups, as many at a time as there are cores.
pub(crate) fn count_all(groups: &[&str]) -> Result<Counted, String> {
    let version = Command::new("valgrind").arg("--version").output();
    version.map_err(|e| format!("valgrind ({e}); Debian: apt-get install valgrind"))?;
    let folder = std::env::temp_dir().join(format!("chat-counts-{}", std::process::id()));
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (left, counted) = (Mutex::new(groups.iter()), Mutex::new(Ok(Counted::new())));
    let work = || {
        loop {
            let Some(group) = left.lock().ok().and_then(|mut left| left.next().copied()) else {
                return;
            };
            let result = count(group, &folder.join(group.replace(' ', "-")));
            let Ok(mut counted) = counted.lock() else { return };
            match (&mut *counted, result) {
                (Ok(counted), Ok(more)) => counted.extend(more),
                (Ok(_), Err(why)) => *counted = Err(format!("{group}: {why}")),
                (Err(_), _) => {}
            }
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let _ = fs::remove_dir_all(&folder);
    counted.into_inner().unwrap_or_else(|_| Err("a worker panicked".to_owned()))
}

fn count(group: &str, folder: &Path) -> Result<Counted, String> {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let (out, go) = (folder.join("out"), folder.join("go"));
    let this = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut child = Command::new("valgrind")
        .args(["--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "-q"])
        .arg("--toggle-collect=*meter::counted_call*")
        .arg("--dump-before=*meter::report*")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(this)
        .env(GROUP, group)
        .env(GO, &go)
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("valgrind: {e}"))?;
    let result = follow(&mut child, &out, &go);
    if result.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|e| e.to_string())?;
    let counted = result?;
    if status.success() { Ok(counted) } else { Err(format!("valgrind ended with {status}")) }
}

/// Turns the counting on when all is set up, and reads each count when it is said to be there.
fn follow(child: &mut Child, out: &Path, go: &Path) -> Result<Counted, String> {
    let stdout = child.stdout.take().ok_or("no output")?;
    let mut counted = Counted::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.map_err(|e| e.to_string())?;
        if line == "ready" {
            let pid = format!("--pid={}", child.id());
            let vgdb = Command::new("vgdb")
                .args([&pid, "--max-invoke-ms=0", "instrumentation", "on"])
                .output();
            let vgdb = vgdb.map_err(|e| format!("vgdb: {e}"))?;
            if !vgdb.status.success() {
                return Err(format!("vgdb: {}", String::from_utf8_lossy(&vgdb.stderr)));
            }
            fs::File::create(go).and_then(|mut f| f.write_all(b"go")).map_err(|e| e.to_string())?;
        } else if let Some((calls, name)) =
            line.strip_prefix("counted ").and_then(|rest| rest.split_once(' '))
        {
            let calls: u64 = calls.parse().map_err(|_| format!("odd line: {line}"))?;
            let dump = PathBuf::from(format!("{}.{}", out.display(), counted.len() + 1));
            counted.insert(name.to_owned(), total(&dump)? / calls);
        }
    }
    Ok(counted)
}

fn total(dump: &Path) -> Result<u64, String> {
    let text = fs::read_to_string(dump).map_err(|e| format!("{}: {e}", dump.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.filter(|total| *total > 0).ok_or_else(|| format!("{}: no count", dump.display()))
}

/// The C library has copies of its functions for several kinds of processor; with these settings it
/// takes the same ones everywhere.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-AVX512F,-AVX512VL,-AVX512BW,\
    -AVX2_Usable,-AVX_Fast_Unaligned_Load";
