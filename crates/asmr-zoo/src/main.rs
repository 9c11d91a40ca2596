//! `asmr-bench`: what `cargo xtask bench` runs.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use asmr_zoo::peers::Environment;
use asmr_zoo::speed::{Setting, decodes, kinds, print_memory, results_folder, steps};
use asmr_zoo::table::Table;
use asmr_zoo::timing::Effort;
use asmr_zoo::{Outcome, fit_time, gate, machine, scaling, speed};

const USAGE: &str = "\
usage: cargo xtask bench [OPTIONS]

  --only NAME     one table (machine, decode, step, kinds, scaling-samples, scaling-depth, scaling-threads,
                  scaling-width, fit-time), or the rows of decode, step and kinds whose name contains NAME; fit-time, which takes half an
                  hour, runs only when asked for
  --quick         few repetitions, two pictures
  --no-peers      without PyTorch
  --threads N     threads of ours and the peers (2)
  --check-peers   compare the peers with the golden vectors, and nothing else

Whole tables at full length go to results/VERSION/, all others to the folder bench of the target folder.";

const TABLES: [&str; 9] = [
    "machine",
    "decode",
    "step",
    "kinds",
    "scaling-samples",
    "scaling-depth",
    "scaling-threads",
    "scaling-width",
    "fit-time",
];

struct Options {
    only: Option<String>,
    quick: bool,
    peers: bool,
    check_peers: bool,
    n_threads: usize,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| ["-h", "--help"].contains(&argument.as_str())) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let outcome = match arguments.split_first() {
        Some((first, rest)) if first == speed::MEMORY => print_memory(rest),
        Some((first, rest)) if first == gate::WORK => gate::work(rest),
        Some((first, [])) if first == gate::AVX512 => gate::avx512(),
        _ => match options(&arguments) {
            Ok(options) => run(&options, &format!("cargo xtask bench {}", arguments.join(" "))),
            Err(problem) => {
                eprintln!("{problem}\n\n{USAGE}");
                return ExitCode::from(2);
            }
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options {
        only: None,
        quick: false,
        peers: true,
        check_peers: false,
        n_threads: machine::n_cores().min(2),
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--no-peers" => options.peers = false,
            "--check-peers" => options.check_peers = true,
            "--only" => options.only = Some(arguments.next().ok_or("--only needs a name")?.clone()),
            "--threads" => {
                let value = arguments.next().ok_or("--threads needs a number")?;
                options.n_threads = value
                    .parse()
                    .ok()
                    .filter(|&n| n > 0)
                    .ok_or_else(|| format!("--threads {value}: it must be a whole number above 0"))?;
            }
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    Ok(options)
}

fn run(options: &Options, command: &str) -> Outcome<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().nth(2).unwrap_or(package);
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    let n_threads = options.n_threads;

    let only = options.only.as_deref();
    let whole = |table: &str| match only {
        Some(name) => name == table,
        None => table != "fit-time",
    };
    let names_table = only.is_some_and(|name| TABLES.contains(&name));
    // A part of a name of rows chooses among those of these tables.
    let rows = if names_table { None } else { only };
    let timed = [
        ("decode", "Decoding", decodes()),
        ("step", "A full-batch step of fitting", steps()),
        ("kinds", "A full-batch step of fitting on grids of one to three axes", kinds()),
    ];
    if let Some(part) = rows
        && !timed.iter().any(|(_, _, jobs)| jobs.iter().any(|job| job.case.name.contains(part)))
    {
        return Err(format!("nothing called {part}; tables are {}", TABLES.join(", ")));
    }
    println!("{}", machine::describe());
    let with_peers = options.peers
        && (["decode", "step", "fit-time"].iter().any(|t| whole(t)) || rows.is_some() || options.check_peers);
    let environment = with_peers.then(|| Environment::prepare(root, &target)).transpose()?;
    if options.check_peers {
        return environment.map_or(Ok(()), |environment| environment.check(root));
    }

    let write = |table: &Table, complete: bool| {
        let folder = if complete && !options.quick { results_folder(root) } else { target.join("bench") };
        table.write(&folder, root, command.trim_end())
    };
    if whole("machine") {
        write(&machine::run()?, true)?;
    }
    let setting = Setting { effort, n_threads, environment: environment.as_ref() };
    for (name, about, jobs) in timed {
        let keep = |job: &speed::Job| rows.is_none_or(|part| job.case.name.contains(part));
        if (whole(name) || rows.is_some()) && jobs.iter().any(keep) {
            let table = speed::run(name, about, &jobs, keep, setting)?;
            write(&table, rows.is_none() && (options.peers || jobs.iter().all(|job| job.peers.is_empty())))?;
        }
    }
    let scaled: [(&str, &dyn Fn() -> Outcome<Table>); 4] = [
        ("scaling-samples", &|| scaling::samples(effort, n_threads)),
        ("scaling-depth", &|| scaling::depth(effort, n_threads)),
        ("scaling-threads", &|| scaling::threads(effort)),
        ("scaling-width", &|| scaling::width(effort, n_threads)),
    ];
    for (name, table) in scaled {
        if whole(name) {
            write(&table()?, true)?;
        }
    }
    if whole("fit-time") {
        write(&fit_time::run(options.quick, n_threads, environment.as_ref())?, options.peers)?;
    }
    Ok(())
}
