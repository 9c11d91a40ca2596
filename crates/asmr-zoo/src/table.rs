//! Result files: tab-separated, with the command, the commit and the machine above.

use std::fmt::Write as _;
use std::path::Path;

use crate::Outcome;
use crate::machine::{commit, describe, load};

/// Stands where a figure was not measured.
pub const NONE: &str = "null";

/// One result file in the making; rows are printed as they come.
#[derive(Clone, Debug)]
pub struct Table {
    /// The file's name is `bench-NAME.tsv`.
    pub name: String,
    about: String,
    notes: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(name: &str, about: &str, columns: &[&str]) -> Self {
        println!("\n{about}\n{}", columns.join("\t"));
        Self {
            name: name.to_owned(),
            about: about.to_owned(),
            notes: vec![format!("{} when it began", load())],
            columns: columns.iter().map(|&c| c.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a line to the file's head.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has not one cell per column, or a cell holds a tab.
    pub fn push(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.columns.len(), "one cell per column");
        assert!(
            row.iter().all(|cell| !cell.contains(['\t', '\n'])),
            "a cell is one word of the file: {row:?}"
        );
        println!("{}", row.join("\t"));
        self.rows.push(row);
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self, root: &Path, command: &str) -> String {
        let mut text = format!("# {}; made by `{command}`\n", self.about);
        let _ = writeln!(text, "# commit {}; {}", commit(root), describe());
        for note in &self.notes {
            let _ = writeln!(text, "# {note}");
        }
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            let _ = writeln!(text, "{}", row.join("\t"));
        }
        text
    }

    /// Writes the file into a folder, which is made if it does not exist.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, folder: &Path, root: &Path, command: &str) -> Outcome<()> {
        let path = folder.join(format!("bench-{}.tsv", self.name));
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, self.text(root, command)))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        println!("wrote {}", path.display());
        Ok(())
    }
}

/// Writes a file as a whole, with the folders above it; what was there before stays until then.
///
/// # Errors
/// When that fails.
pub fn write_whole(path: &Path, text: &str) -> Outcome<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = folder.join(name);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&temporary, text))
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}
