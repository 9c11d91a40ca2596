//! `PyTorch` peers (`peers/torch_peers.py`) in a process of their own: one request, one repetition, one answer.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use asmr::network::NetworkConfig;
use serde_json::{Value, json};

use crate::Outcome;

/// The script and what it needs, below the repository's root.
const SCRIPT: &str = "crates/asmr-zoo/peers/torch_peers.py";
const REQUIREMENTS: &str = "crates/asmr-zoo/peers/requirements.txt";

/// Where Python finds `PyTorch`.
#[derive(Clone, Debug)]
pub struct Environment {
    python: PathBuf,
    script: PathBuf,
}

impl Environment {
    /// The virtual environment `peers-venv` of a target folder; made and filled (several GB) if it does not exist.
    ///
    /// # Errors
    /// When Python or pip fail.
    pub fn prepare(root: &Path, target: &Path) -> Outcome<Self> {
        let folder = target.join("peers-venv");
        let python = folder.join("bin/python");
        // Written last, so that an installation that was interrupted is not taken for a whole one.
        let stamp = folder.join("requirements.txt");
        let wanted = std::fs::read_to_string(root.join(REQUIREMENTS))
            .map_err(|error| format!("cannot read {REQUIREMENTS}: {error}"))?;
        if std::fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
            println!("installing PyTorch into {}", folder.display());
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
            run(Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
                .arg(root.join(REQUIREMENTS)))?;
            std::fs::write(&stamp, wanted)
                .map_err(|error| format!("cannot write {}: {error}", stamp.display()))?;
        }
        Ok(Self { python, script: root.join(SCRIPT) })
    }

    /// Compares the peers with the golden vectors.
    ///
    /// # Errors
    /// When one differs.
    pub fn check(&self, root: &Path) -> Outcome<()> {
        let vectors = root.join("crates/asmr/tests/data/vectors");
        run(Command::new(&self.python).arg(&self.script).arg("check").arg(vectors))
    }

    /// Starts the peers' process with so many threads.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&self, n_threads: usize) -> Outcome<Peers> {
        let mut child = Command::new(&self.python)
            .arg(&self.script)
            .args(["serve", &n_threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", self.python.display()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the peers' process has no pipes".to_owned());
        };
        Ok(Peers { child, input, output: BufReader::new(output) })
    }
}

fn run(command: &mut Command) -> Outcome<()> {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed")) }
}

/// The peers' process; it ends with this value.
#[derive(Debug)]
pub struct Peers {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peers {
    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When the process has died or the answer is an error.
    pub fn ask(&mut self, request: &Value) -> Outcome<Value> {
        let mut line = String::new();
        writeln!(self.input, "{request}")
            .and_then(|()| self.input.flush())
            .and_then(|()| self.output.read_line(&mut line))
            .map_err(|error| format!("the peers' process does not answer: {error}"))?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| format!("the peers' process answered \"{}\": {error}", line.trim()))?;
        match answer.get("error") {
            Some(error) => Err(format!("the peers' process on {request}: {error}")),
            None => Ok(answer),
        }
    }

    /// A number of the answer to a request.
    ///
    /// # Errors
    /// As [`Self::ask`], and when there is no such number.
    pub fn number(&mut self, request: &Value, key: &str) -> Outcome<f64> {
        let answer = self.ask(request)?;
        answer[key].as_f64().ok_or_else(|| format!("the peers' process answered {answer}, without {key}"))
    }

    /// What runs there, in words.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn describe(&mut self) -> Outcome<String> {
        let info = self.ask(&json!({"work": "info"}))?;
        let text = |key: &str| info[key].as_str().unwrap_or("unknown").to_owned();
        Ok(format!("PyTorch {}, {} threads, {}", text("torch"), info["threads"], text("capability")))
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        // It may be in the middle of a long answer that nobody waits for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request for a peer to do some work on a network's shape.
#[must_use]
pub fn request(work: &str, peer: &str, config: &NetworkConfig) -> Value {
    json!({
        "work": work,
        "peer": peer,
        "extents": config.partition.extents(),
        "bases": config.partition.bases(),
        "channels": config.channels,
        "width": config.width,
    })
}
