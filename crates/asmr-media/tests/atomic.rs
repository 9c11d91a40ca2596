//! A file is there whole, or as it was before.

use std::fs;
use std::io;
use std::path::Path;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_media::{MediaError, read_image, write_atomically, write_image, write_npy};

fn picture() -> Signal {
    let info = SignalInfo::plain(vec![4, 5], 1, SampleType::U8, Some(ColorType::Gray));
    Signal::new(info, Samples::U8((0..20).collect())).unwrap()
}

#[track_caller]
fn assert_write_failure(result: Result<(), MediaError>, words: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, MediaError::Write { .. }), "{error}");
    assert!(error.is_write_failure() && !error.is_bad_input());
    assert!(error.to_string().contains(words), "{words:?} is not in {:?}", error.to_string());
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_failed_write_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    fs::write(&path, "before").unwrap();
    let fail = |w: &mut dyn io::Write| {
        w.write_all(&vec![7; 1 << 20])?;
        Err(io::Error::new(io::ErrorKind::StorageFull, "no space left"))
    };
    assert_write_failure(write_atomically(&path, fail), "no space left");
    assert_write_failure(write_atomically(&folder.path().join("new"), fail), "no space left");
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(names(folder.path()), ["kept"]);
}

#[test]
fn a_panic_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept");
    fs::write(&path, "before").unwrap();
    let result = std::panic::catch_unwind(|| {
        write_atomically(&path, |w| {
            w.write_all(b"half")?;
            panic!("on purpose")
        })
    });
    assert!(result.is_err());
    assert_eq!(fs::read(&path).unwrap(), b"before");
    assert_eq!(names(folder.path()), ["kept"]);
}

#[test]
fn a_success_replaces_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "a long text that was there before").unwrap();
    write_atomically(&path, |w| w.write_all(b"short")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"short");
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn folders_that_are_missing_or_no_folders_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere").join("a.png");
    assert_write_failure(write_image(&missing, &picture()), "nowhere does not exist; create it first");
    let into = folder.path().join("folder.png");
    fs::create_dir(&into).unwrap();
    assert_write_failure(write_image(&into, &picture()), "it is a folder");
    fs::write(folder.path().join("file"), "").unwrap();
    let below = folder.path().join("file").join("a.npy");
    assert_write_failure(write_npy(&below, &[1], 1, &[0.0]), "");
    assert_eq!(names(folder.path()), ["file", "folder.png"]);
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn permissions_are_those_of_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (plain, ours) = (folder.path().join("plain"), folder.path().join("ours.png"));
        fs::write(&plain, "").unwrap();
        write_image(&ours, &picture()).unwrap();
        assert_eq!(mode(&ours), mode(&plain));
        // A replaced file keeps what it had.
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).unwrap();
        write_image(&ours, &picture()).unwrap();
        assert_eq!(mode(&ours), 0o640);
    }

    #[test]
    fn a_symbolic_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::write(&target, "before").unwrap();
        symlink(&target, &link).unwrap();
        write_atomically(&link, |w| w.write_all(b"after")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&target).unwrap(), b"after");
    }

    #[test]
    fn write_protection_is_respected() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("protected");
        fs::write(&file, "before").unwrap();
        if fs::metadata(&file).unwrap().uid() == 0 {
            println!("skipped: the superuser may write anywhere");
            return;
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444)).unwrap();
        assert_write_failure(write_atomically(&file, |w| w.write_all(b"after")), "ermission denied");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let new = folder.path().join("new");
        assert_write_failure(write_atomically(&new, |w| w.write_all(b"after")), "no file can be made");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"before");
    }

    #[test]
    fn devices_are_written_into_and_stay_devices() {
        let null = Path::new("/dev/null");
        write_atomically(null, |w| w.write_all(b"gone")).unwrap();
        assert!(!fs::metadata(null).unwrap().is_file());
        let full = Path::new("/dev/full");
        if full.exists() {
            assert_write_failure(write_atomically(full, |w| w.write_all(b"x")), "cannot write /dev/full");
        } else {
            println!("skipped: there is no /dev/full");
        }
    }

    /// Both ways through a pipe, TIFF included, whose encoder must go back.
    #[test]
    fn pictures_go_through_pipes() {
        let folder = tempfile::tempdir().unwrap();
        let mut n_cases = 0;
        for name in ["pipe.png", "pipe.tiff", "pipe.pgm"] {
            let path = folder.path().join(name);
            let made = std::process::Command::new("mkfifo").arg(&path).status();
            if !made.is_ok_and(|status| status.success()) {
                println!("skipped: mkfifo is missing");
                return;
            }
            let reader = std::thread::spawn({
                let path = path.clone();
                move || read_image(&path, &asmr_media::Limits::default())
            });
            write_image(&path, &picture()).unwrap();
            assert_eq!(reader.join().unwrap().unwrap(), picture(), "{name}");
            n_cases += 1;
        }
        assert_eq!(n_cases, 3);
    }
}
