//! `asmr-zoo`: runs experiments and makes their page.
#![forbid(unsafe_code)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use asmr_zoo::experiment::Experiment;
use asmr_zoo::meta_study::{Measured, MetaExperiment};
use asmr_zoo::records::Records;
use asmr_zoo::report::{Part, Section, page};
use asmr_zoo::runner::{Event, Place, keep_current, results_path, run};
use asmr_zoo::table::write_whole;
use asmr_zoo::{Outcome, claims, machine, meta_study};

const USAGE: &str = "\
usage: asmr-zoo run NAME... [OPTIONS]      run experiments: experiments/NAME.toml, or any other file .toml
       asmr-zoo report [OPTIONS]           run all of experiments/, and make claims.tsv and one page of them; goes on with a report
                                           that was stopped, and begins anew (as with --fresh) where one was done
       asmr-zoo list                       what experiments there are

  --quick          fewer signals, seeds and steps, as each experiment says
  --fresh          nothing that was measured before counts: it goes to NAME.tsv.old, and all is fitted anew
  --only-page      no fits: the page of what was measured before
  --threads N      threads of the fits (2)

Results go to results/VERSION/experiments/, of quick runs to its folder quick. What they have is not fitted again, on whatever machine
and commit it was measured: --fresh does. Signals are looked for in the folder ASMR_DATA, in ../shared/data beside the project and
among the examples.";

/// Prints a line. That nobody listens any more ends no measurement.
macro_rules! tell {
    ($($words:tt)*) => {{
        let _ = writeln!(std::io::stdout(), $($words)*);
    }};
}

#[derive(Default)]
struct Options {
    words: Vec<String>,
    quick: bool,
    fresh: bool,
    only_page: bool,
    n_threads: Option<usize>,
}

/// Why nothing came of it: what was asked for cannot be, or it did not work.
enum Problem {
    Usage(String),
    Failed(String),
}

impl From<String> for Problem {
    fn from(sentence: String) -> Self {
        Self::Failed(sentence)
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() || arguments.iter().any(|argument| ["-h", "--help"].contains(&argument.as_str()))
    {
        tell!("{USAGE}");
        return if arguments.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS };
    }
    let outcome = match options(&arguments) {
        Ok(options) => act(&options),
        Err(problem) => Err(Problem::Usage(format!("{problem}\n\n{USAGE}"))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Problem::Usage(sentence)) => {
            eprintln!("{sentence}");
            ExitCode::from(2)
        }
        Err(Problem::Failed(sentence)) => {
            eprintln!("{sentence}");
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Outcome<Options> {
    let mut options = Options::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => options.quick = true,
            "--fresh" => options.fresh = true,
            "--only-page" => options.only_page = true,
            "--threads" => {
                let value = arguments.next().map_or("", String::as_str);
                let n = value.parse().ok().filter(|&n: &usize| (1..=1024).contains(&n));
                options.n_threads =
                    Some(n.ok_or_else(|| format!("--threads {value}: it must be 1 to 1024"))?);
            }
            option if option.starts_with('-') => return Err(format!("there is no option {option}")),
            word => options.words.push(word.to_owned()),
        }
    }
    if options.fresh && options.only_page {
        return Err("--fresh fits anew, and --only-page does not: say one of them".to_owned());
    }
    match options.words.first().map(String::as_str) {
        Some("run") if options.words.len() > 1 => Ok(options),
        Some("run") => Err("run what? Name an experiment".to_owned()),
        Some("report" | "list") if options.words.len() == 1 => Ok(options),
        Some("report" | "list") => Err("report and list take no names".to_owned()),
        _ => Err("say run, report or list first".to_owned()),
    }
}

fn act(options: &Options) -> Result<(), Problem> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().nth(2).unwrap_or(package);
    let folder = root.join("experiments");
    if options.words[0] == "list" {
        for path in files(&folder)? {
            tell!("{:<20} {}", name(&path), load(&path).map_err(Problem::Usage)?.title());
        }
        return Ok(());
    }
    let is_report = options.words[0] == "report";
    let begun = Instant::now();
    let paths = if is_report {
        files(&folder)?
    } else {
        let named = options.words[1..].iter().map(|word| {
            let path = PathBuf::from(word);
            if path.extension().is_some() { path } else { folder.join(format!("{word}.toml")) }
        });
        named.collect()
    };
    // All are read before anything is fitted.
    let specs = paths.iter().map(|path| Ok((path, load(path)?))).collect::<Outcome<Vec<_>>>();
    let specs = specs.map_err(Problem::Usage)?;
    let pool = machine::pool(options.n_threads.unwrap_or_else(|| machine::n_cores().min(2)))?;
    let named = if is_report { folder.join("report.toml") } else { paths[0].clone() };
    let page_path = results_path(root, &named, options.quick).with_extension("html");
    // What tells that a report was done, and how long it took.
    let record = page_path.with_extension("tsv");
    let measures = is_report && !options.only_page;
    let is_done = measures && record.is_file();
    if is_done {
        tell!("a report was done before: its results go to NAME.tsv.old, and all is measured anew");
        std::fs::remove_file(&record)
            .map_err(|error| format!("cannot remove {}: {error}", record.display()))?;
    }
    let (mut sections, mut parts, mut missing, mut n_short) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let mut counts = [0; 2];
    for (path, spec) in specs {
        if options.fresh || is_done {
            put_aside(&results_path(root, path, options.quick))?;
        }
        match spec {
            Spec::Fits(experiment) => {
                let (section, fits) = pool.install(|| section(root, path, *experiment, options))?;
                counts = [0, 1].map(|i| counts[i] + fits[i]);
                parts.push(section.part());
                n_short += usize::from(!section.missing.is_empty());
                missing.extend(section.missing.iter().cloned());
                sections.push(section);
            }
            Spec::Meta(experiment) => {
                let (part, problem) = pool.install(|| meta_part(root, path, *experiment, options));
                parts.push(part);
                n_short += usize::from(problem.is_some());
                missing.extend(problem);
            }
        }
        // After each, so that what took long is seen before all is done, and whatever becomes of the rest.
        if let Some(part) = parts.last() {
            let file = results_path(root, path, options.quick).with_extension("");
            for (i, plot) in part.plots.iter().enumerate() {
                let file = file.with_file_name(format!("{}-{}.svg", name(&file), i + 1));
                write_whole(&file, &plot.svg_with(&part.note))?;
            }
        }
        write_page(&page_path, &parts, is_report.then_some(&sections[..]), options)?;
    }
    tell!("wrote {}", page_path.display());
    if measures {
        let [n_fits, n_before] = counts;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        let (commit, machine) = (machine::commit(root), machine::describe());
        let text = format!(
            "# A whole `asmr-zoo report{}`, without its build; fits of its own, and those of runs that it went on with\n\
             minutes\tfits\tfits_before\texperiments\tleft_out\tthreads\tcommit\tmachine\n\
             {minutes:.1}\t{n_fits}\t{n_before}\t{}\t{n_short}\t{}\t{commit}\t{machine}\n",
            if options.quick { " --quick" } else { "" },
            parts.len(),
            pool.current_num_threads()
        );
        write_whole(&record, &text)?;
    }
    if missing.is_empty() {
        return Ok(());
    }
    missing.sort();
    missing.dedup();
    // A report says on its page what is missing; who names an experiment wants it.
    if !is_report {
        return Err(Problem::Usage(missing.join("; ")));
    }
    let said = format!("LEFT OUT in {n_short} of {} experiments: {}", parts.len(), missing.join("; "));
    if 2 * n_short >= parts.len() {
        return Err(Problem::Failed(said));
    }
    eprintln!("{said}");
    Ok(())
}

/// Moves results away from where they would be gone on with.
fn put_aside(results: &Path) -> Outcome<()> {
    match std::fs::rename(results, results.with_extension("tsv.old")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot move {} away: {error}", results.display()))
        }
        _ => Ok(()),
    }
}

/// The page of what was measured so far and, of a report, claims.
fn write_page(path: &Path, parts: &[Part], reported: Option<&[Section]>, options: &Options) -> Outcome<()> {
    let claims = reported.map_or_else(Vec::new, |sections| claims::claims(sections, options.quick));
    if reported.is_some() {
        let command = format!("asmr-zoo report{}", if options.quick { " --quick" } else { "" });
        claims::write(&claims, &path.with_file_name("claims.tsv"), &command)?;
    }
    write_whole(path, &page(parts, &claims, options.quick))
}

/// Folders that signals are looked for in.
fn signal_folders(root: &Path) -> Vec<PathBuf> {
    let named = std::env::var_os("ASMR_DATA").map(PathBuf::from);
    named.into_iter().chain([root.join("../shared/data"), root.join("examples")]).collect()
}

fn command(name: &str, options: &Options) -> String {
    format!("asmr-zoo run {name}{}", if options.quick { " --quick" } else { "" })
}

/// An experiment's section; how many fits were made, and how many had been before.
fn section(
    root: &Path,
    path: &Path,
    experiment: Experiment,
    options: &Options,
) -> Outcome<(Section, [usize; 2])> {
    let experiment = if options.quick { experiment.quick() } else { experiment };
    let name = name(path);
    let place = Place {
        root: root.to_path_buf(),
        signals: signal_folders(root),
        results: results_path(root, path, options.quick),
        command: command(&name, options),
    };
    if options.only_page {
        let mut records = Records::read(&place.results)?;
        keep_current(&experiment, &mut records);
        let missing = Vec::new();
        return Ok((Section { name, experiment, records, missing, is_quick: options.quick }, [0; 2]));
    }
    tell!("{}", experiment.title);
    let start = Instant::now();
    let done = run(&experiment, &place, &AtomicBool::new(false), &mut |event| match event {
        Event::Begun(key, i, n) => tell!("  {i} of {n}: {}", key.join(", ")),
        Event::Ended(row) => tell!("    {} dB in {} s", row.text("psnr_db"), row.text("fit_s")),
        Event::Missing(problem) => tell!("  left out: {problem}"),
    })?;
    tell!("  {} fits, {:.0} s", done.n_fits, start.elapsed().as_secs_f64());
    if done.n_before > 0 {
        tell!("  {} were measured before, and stand (--fresh fits them anew)", done.n_before);
    }
    let (records, missing, is_quick) = (done.records, done.missing, options.quick);
    Ok((Section { name, experiment, records, missing, is_quick }, [done.n_fits, done.n_before]))
}

/// Meta-learning is measured as a whole, unless it was before.
fn meta_part(
    root: &Path,
    path: &Path,
    experiment: MetaExperiment,
    options: &Options,
) -> (Part, Option<String>) {
    let experiment = if options.quick { experiment.quick() } else { experiment };
    let (name, results) = (name(path), results_path(root, path, options.quick));
    let part = |measured: Option<&Measured>, problem: Option<&str>| {
        let part = meta_study::part(&name, &experiment, measured, problem);
        let quick = if options.quick { "quick run; " } else { "" };
        Part { note: format!("{quick}{}", part.note), ..part }
    };
    if options.only_page {
        return (part(Measured::read(&results).as_ref(), None), None);
    }
    tell!("{}", experiment.title);
    let start = Instant::now();
    let command = command(&name, options);
    let ran = experiment.run(&results, root, &signal_folders(root), &command, &mut |line| tell!("  {line}"));
    tell!("  {:.0} s", start.elapsed().as_secs_f64());
    match ran {
        Ok(measured) => (part(Some(&measured), None), None),
        Err(problem) => {
            tell!("  left out: {problem}");
            (part(None, Some(&problem)), Some(problem))
        }
    }
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What an experiment's file asks for.
enum Spec {
    Fits(Box<Experiment>),
    Meta(Box<MetaExperiment>),
}

impl Spec {
    fn title(&self) -> &str {
        match self {
            Self::Fits(experiment) => &experiment.title,
            Self::Meta(experiment) => &experiment.title,
        }
    }
}

fn load(path: &Path) -> Outcome<Spec> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("cannot read {}: {error}; `asmr-zoo list` tells what there is", path.display())
    })?;
    let spec = if text.lines().any(|line| line.starts_with("learned_from")) {
        MetaExperiment::parse(&text).map(|experiment| Spec::Meta(Box::new(experiment)))
    } else {
        Experiment::parse(&text).map(|experiment| Spec::Fits(Box::new(experiment)))
    };
    spec.map_err(|problem| format!("{}: {problem}", path.display()))
}
