//! Films through `ffmpeg`: against its own dump of pictures, made-up trouble, and programs that only claim to be it.
//!
//! Without `ffmpeg` the tests that need it say that they are skipped.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use asmr::metadata::{Media, Video};
use asmr::signal::{ColorType, SampleType, Samples, SignalInfo};
use asmr_media::{FrameRange, Limits, MediaError, VideoComparison, create_video, is_video, open_video};

fn has_ffmpeg() -> bool {
    let has = |program| Command::new(program).arg("-version").output().is_ok_and(|o| o.status.success());
    let found = has("ffmpeg") && has("ffprobe");
    if !found {
        println!("skipped: there is no ffmpeg; install it with apt-get install ffmpeg");
    }
    found
}

/// Runs the real program, as an independent witness.
#[track_caller]
fn ffmpeg(folder: &Path, arguments: &str) {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(arguments.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn range(start: u64, end: Option<u64>) -> FrameRange {
    FrameRange { start, end, rate: None }
}

/// A frame at a time, so that pipes are read in many steps.
fn read(path: &Path, frames: &FrameRange) -> Result<(SignalInfo, Vec<u8>), MediaError> {
    let mut reader = open_video(path, frames, &Limits::default())?;
    let info = reader.info().clone();
    let mut values = Vec::new();
    for _ in 0..info.extents[0] {
        let Samples::U8(frame) = reader.read(1)? else { panic!("8 bits") };
        values.extend(frame);
    }
    Ok((info, values))
}

fn whole(path: &Path) -> (SignalInfo, Vec<u8>) {
    read(path, &FrameRange::default()).unwrap()
}

fn video(info: &SignalInfo) -> &Video {
    let Media::Video(video) = &info.media else { panic!("{info:?}") };
    video
}

#[track_caller]
fn assert_says(error: &MediaError, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
    assert!(!message.contains('\n'), "{message:?}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The same film as PNG pictures that `ffmpeg` writes, read by the `image` crate alone.
fn dumped(folder: &Path, film: &str) -> Vec<Vec<u8>> {
    let dump = folder.join("dump");
    fs::create_dir(&dump).unwrap();
    ffmpeg(folder, &format!("-i {film} -vsync passthrough -pix_fmt rgb24 dump/%06d.png"));
    let frames = names(&dump)
        .iter()
        .map(|name| image::open(dump.join(name)).unwrap().into_rgb8().into_raw())
        .collect();
    fs::remove_dir_all(&dump).unwrap();
    frames
}

#[test]
fn a_real_film_is_what_ffmpeg_dumps() {
    let Some(data) = std::env::var_os("ASMR_DATA") else {
        println!("skipped: ASMR_DATA names no folder of test signals");
        return;
    };
    if !has_ffmpeg() {
        return;
    }
    let film = Path::new(&data).join("video/carphone_pristine.mp4");
    let folder = tempfile::tempdir().unwrap();
    let dump = dumped(folder.path(), film.to_str().unwrap());
    assert_eq!(dump.len(), 120);
    assert!(is_video(&film).unwrap());
    let (info, values) = whole(&film);
    assert_eq!((info.extents.as_slice(), info.color), (&[120, 144, 176][..], Some(ColorType::Rgb)));
    assert_eq!(video(&info), &Video { rate: [30000, 1001], first_frame: 0 });
    assert!(values == dump.concat());
    for (start, end) in [(0, Some(1)), (7, Some(19)), (100, None), (119, Some(120))] {
        let (info, values) = read(&film, &range(start, end)).unwrap();
        assert!(values == dump[start as usize..end.unwrap_or(120) as usize].concat(), "{start} {end:?}");
        assert_eq!(video(&info).first_frame, start);
    }
    let error = read(&film, &range(120, None)).unwrap_err();
    assert_says(&error, &["frames 120 to the end are asked for, and it has 120"]);
}

/// Formats, frames of uneven distance, turned films, odd names: all against the dump.
#[test]
fn made_up_films_are_what_ffmpeg_dumps() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    ffmpeg(at, "-f lavfi -i testsrc2=s=64x48:r=24:d=1 -c:v libx264 -pix_fmt yuv420p a.mp4");
    ffmpeg(at, "-i a.mp4 -c copy a.mkv");
    ffmpeg(at, "-i a.mp4 -c copy a.ts");
    ffmpeg(at, "-i a.mp4 -c copy a.flv");
    ffmpeg(at, "-i a.mp4 -c:v mpeg4 -bf 0 a.avi");
    ffmpeg(at, "-i a.mp4 -c:v libvpx -deadline realtime a.webm");
    ffmpeg(at, "-i a.mp4 -metadata:s:v rotate=90 -c copy turned.mp4");
    // Every third and fifth frame is missing, the others keep their times.
    ffmpeg(at, "-i a.mp4 -vf select=mod(n\\,3)*mod(n\\,5) -vsync passthrough -c:v libx264 uneven.mkv");
    ffmpeg(at, "-i a.mp4 -c:v ffv1 -pix_fmt yuv444p10le -level 3 deep.mkv");
    fs::copy(at.join("a.mp4"), at.join("-v:%03d 'x\".mp4")).unwrap();
    let n_uneven = (0..24).filter(|n| n % 3 != 0 && n % 5 != 0).count();
    let mut n_cases = 0;
    for (name, n_frames, sides, rate) in [
        ("a.mp4", 24, [48, 64], Some([24, 1])),
        ("a.mkv", 24, [48, 64], Some([24, 1])),
        ("a.ts", 24, [48, 64], Some([24, 1])),
        ("a.flv", 24, [48, 64], Some([24, 1])),
        ("a.avi", 24, [48, 64], Some([24, 1])),
        ("a.webm", 24, [48, 64], Some([24, 1])),
        ("turned.mp4", 24, [64, 48], Some([24, 1])),
        ("uneven.mkv", n_uneven, [48, 64], None),
        ("deep.mkv", 24, [48, 64], Some([24, 1])),
    ] {
        let path = at.join(name);
        assert!(is_video(&path).unwrap(), "{name}");
        let dump = dumped(at, name);
        let (info, values) = whole(&path);
        assert_eq!(info.extents, [n_frames, sides[0], sides[1]], "{name}");
        assert_eq!(dump.len(), n_frames, "{name}");
        assert!(values == dump.concat(), "{name}");
        if let Some(rate) = rate {
            assert_eq!(video(&info).rate, rate, "{name}");
        }
        let (_, part) = read(&path, &range(3, Some(9))).unwrap();
        assert!(part == dump[3..9].concat(), "{name}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 9);
    assert_eq!(whole(&at.join("-v:%03d 'x\".mp4")), whole(&at.join("a.mp4")));
    // A grey film stays grey, as stored.
    ffmpeg(at, "-f lavfi -i testsrc2=s=64x48:r=24:d=0.2 -vf format=gray -c:v ffv1 grey.mkv");
    ffmpeg(at, "-i grey.mkv -f rawvideo -pix_fmt gray grey.raw");
    let (info, values) = whole(&at.join("grey.mkv"));
    assert_eq!((info.color, info.extents[0]), (Some(ColorType::Gray), 5));
    assert!(values == fs::read(at.join("grey.raw")).unwrap());
}

#[test]
fn films_that_cannot_be_used_are_refused_in_a_sentence() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    ffmpeg(
        at,
        "-f lavfi -i testsrc2=s=64x48:r=24:d=1 -c:v libx264 -pix_fmt yuv420p -movflags faststart a.mp4",
    );
    ffmpeg(at, "-f lavfi -i testsrc2=s=96x48:r=24:d=1 -c:v libx264 -pix_fmt yuv420p b.h264");
    ffmpeg(at, "-i a.mp4 -c copy -cluster_time_limit 100 a.mkv");
    ffmpeg(at, "-i a.mp4 -c copy -bsf:v h264_mp4toannexb a.h264");
    ffmpeg(at, "-f lavfi -i sine=d=1 -c:a aac sound.mp4");
    let bytes = |name: &str| fs::read(at.join(name)).unwrap();
    let cut = |name: &str, quarters: usize, to: &str| {
        let bytes = bytes(name);
        fs::write(at.join(to), &bytes[..bytes.len() * quarters / 4]).unwrap();
    };
    fs::write(at.join("grows.h264"), [bytes("a.h264"), bytes("b.h264")].concat()).unwrap();
    cut("a.mkv", 3, "cut.mkv");
    cut("a.mp4", 3, "cut.mp4");
    ffmpeg(at, "-i a.mp4 -c copy index-last.mp4");
    cut("index-last.mp4", 1, "no-index.mp4");
    fs::write(at.join("noise.mp4"), [&b"\0\0\0\x20ftypisom"[..], &[0x5a; 5000]].concat()).unwrap();
    fs::write(at.join("noise.mkv"), [&b"\x1a\x45\xdf\xa3"[..], &[0xff; 5000]].concat()).unwrap();
    let cases = [
        ("grows.h264", "its frames change their size or kind at frame 24; cut it there"),
        ("sound.mp4", "it has no moving pictures"),
        ("cut.mkv", "frames (ffmpeg says: File ended prematurely"),
        ("cut.mp4", "partial file"),
        ("no-index.mp4", "damaged or truncated film file"),
        ("noise.mp4", "damaged or truncated film file"),
        ("noise.mkv", "damaged or truncated film file"),
    ];
    for (name, words) in cases {
        let error = read(&at.join(name), &FrameRange::default()).expect_err(name);
        assert!(error.is_bad_input());
        assert_says(&error, &[words]);
    }
    let limits = Limits { max_alloc_bytes: 64 * 48 * 3 - 1, ..Limits::default() };
    let error = open_video(&at.join("a.mp4"), &FrameRange::default(), &limits).err().unwrap();
    assert_says(&error, &["one frame of 64 x 48 pixels needs 9216 bytes, and the limit is 9215 bytes"]);
    // Before the change of size all is well.
    assert_eq!(read(&at.join("grows.h264"), &range(0, Some(24))).unwrap().0.extents[0], 24);
}

/// The plain conversion of Y4M against the scaler of `ffmpeg`, asked for precision and for repeated chroma. It works in
/// whole numbers, with coefficients of some 13 bits, so it may be one off.
#[test]
fn y4m_becomes_the_colors_that_ffmpeg_makes_of_it() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let mut n_cases = 0;
    for (format, tolerance) in [("yuv420p", 1), ("yuv422p", 1), ("yuv444p", 1), ("gray", 0)] {
        ffmpeg(
            at,
            &format!(
                "-f lavfi -i testsrc2=s=98x50:r=5:d=1 -vf scale=out_color_matrix=bt601:out_range=tv,format={format} a.y4m"
            ),
        );
        let rgb = if format == "gray" { "gray" } else { "rgb24" };
        ffmpeg(
            at,
            &format!(
                "-i a.y4m -vf scale=in_color_matrix=bt601:in_range=tv:flags=neighbor+accurate_rnd+full_chroma_int \
                 -f rawvideo -pix_fmt {rgb} a.raw"
            ),
        );
        let (info, values) = whole(&at.join("a.y4m"));
        let expected = fs::read(at.join("a.raw")).unwrap();
        assert_eq!(info.extents, [5, 50, 98]);
        assert_eq!(values.len(), expected.len(), "{format}");
        let off: Vec<u8> = values.iter().zip(&expected).map(|(&a, &b)| a.abs_diff(b)).collect();
        let worst = off.iter().max().unwrap();
        let n_off = off.iter().filter(|&&off| off > 0).count();
        println!("{format}: off by up to {worst}, at {n_off} of {} values", off.len());
        assert!(*worst <= tolerance, "{format}: off by {worst}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}

/// Smooth, moving, in colours.
fn film(extents: [usize; 3], color: ColorType) -> (SignalInfo, Samples) {
    let channels = color.n_channels();
    let info = SignalInfo {
        extents: extents.to_vec(),
        channels,
        sample_type: SampleType::U8,
        color: Some(color),
        value_range: None,
        media: Media::Video(Video { rate: [30000, 1001], first_frame: 0 }),
    };
    let mut values = Vec::new();
    for t in 0..extents[0] {
        for y in 0..extents[1] {
            for x in 0..extents[2] {
                for c in 0..channels {
                    let phase = (x + 2 * t) as f64 / 14.0 + (y as f64 / 11.0) + c as f64;
                    values.push((128.0 + 90.0 * phase.sin()) as u8);
                }
            }
        }
    }
    (info, Samples::U8(values))
}

#[test]
fn what_is_written_is_close_to_what_is_read() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut n_cases = 0;
    for extension in ["mp4", "mov", "mkv", "webm", "avi"] {
        for (extents, color) in
            [([12, 48, 64], ColorType::Rgb), ([12, 47, 63], ColorType::Rgb), ([3, 48, 64], ColorType::Gray)]
        {
            if color == ColorType::Gray && extension != "mp4" {
                continue;
            }
            let (info, samples) = film(extents, color);
            let path = folder.path().join(format!("film.{extension}"));
            let mut writer = create_video(&path, &info).unwrap();
            writer.write(&samples.slice(0..info.slice_values())).unwrap();
            writer.write(&samples.slice(info.slice_values()..samples.len())).unwrap();
            writer.finish().unwrap();
            assert!(is_video(&path).unwrap());
            let (read_info, values) = whole(&path);
            assert_eq!((&read_info.extents, video(&read_info)), (&info.extents, video(&info)), "{extension}");
            assert_eq!(read_info.color, Some(ColorType::Rgb));
            let values =
                if color == ColorType::Gray { values.iter().step_by(3).copied().collect() } else { values };
            let mut comparison = VideoComparison::new(&info);
            comparison.push(&samples, &Samples::U8(values));
            let scores = comparison.finish();
            println!("{extension} {extents:?}: {scores:?}");
            // Half the chroma is the greatest loss; another matrix or range would cost far more than this leaves.
            assert!(scores.psnr_db_worst.unwrap() > 36.0, "{extension} {extents:?}: {scores:?}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 11);
    assert_eq!(names(folder.path()), ["film.avi", "film.mkv", "film.mov", "film.mp4", "film.webm"]);
    // A dropped writer leaves the old film, and nothing else.
    let path = folder.path().join("film.mp4");
    let before = fs::read(&path).unwrap();
    let (info, samples) = film([12, 48, 64], ColorType::Rgb);
    let mut writer = create_video(&path, &info).unwrap();
    writer.write(&samples.slice(0..info.slice_values())).unwrap();
    drop(writer);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(names(folder.path()).len(), 5);
}

/// A folder with programs that only claim to be `ffmpeg` and `ffprobe`.
fn fakes(ffmpeg: &str, ffprobe: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, body) in [("ffmpeg", ffmpeg), ("ffprobe", ffprobe)] {
        if !body.is_empty() {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    folder
}

/// Reads or writes a film in a process of its own, whose PATH holds the fakes alone, and gives what it printed.
fn with_path(path: &Path, task: &str, film: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "task_of_another_process", "--nocapture"])
        .env("PATH", path)
        .env("ASMR_TEST_TASK", task)
        .env("ASMR_TEST_FILM", film)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines()
        .find_map(|line| line.split_once("RESULT "))
        .map_or_else(|| panic!("{text}"), |r| r.1.to_owned())
}

/// Children of this process that have ended and were not waited for, or still run.
fn n_children() -> usize {
    let own = std::process::id().to_string();
    fs::read_dir("/proc").map_or(0, |entries| {
        entries
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
            .filter(|stat| stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)) == Some(&own))
            .count()
    })
}

#[test]
fn task_of_another_process() {
    let (Some(task), Some(film_path)) =
        (std::env::var_os("ASMR_TEST_TASK"), std::env::var_os("ASMR_TEST_FILM"))
    else {
        println!("does its work when another test starts it");
        return;
    };
    let path = PathBuf::from(film_path);
    let result = match task.to_str().unwrap() {
        "read" => read(&path, &FrameRange::default()).map(|(info, _)| format!("read {:?}", info.extents)),
        "drop" => open_video(&path, &FrameRange::default(), &Limits::default()).and_then(|mut reader| {
            reader.read(1)?;
            Ok("dropped".to_owned())
        }),
        _ => {
            let (info, samples) = film([100, 48, 64], ColorType::Rgb);
            create_video(&path, &info).and_then(|mut writer| {
                writer.write(&samples)?;
                writer.finish()?;
                Ok("written".to_owned())
            })
        }
    };
    assert_eq!(n_children(), 0, "a child was not waited for");
    println!("RESULT {}", result.unwrap_or_else(|error| format!("{} {error}", error.is_bad_input())));
}

const VERSION: &str = r#"case "$*" in *-version*) echo "ffmpeg version 5.1.9 Copyright"; exit;; esac"#;
const PROBE: &str = r"echo width=4; echo height=2; echo pix_fmt=yuv420p; echo r_frame_rate=25/1; echo avg_frame_rate=25/1; echo nb_frames=3";
/// Three frames of 24 bytes.
const COUNT: &str = r##"case "$*" in *framecrc*)
echo "#dimensions 0: 4x2"
for i in 0 1 2; do echo "0, $i, $i, 1, 12, 0x01020304"; done
exit;; esac"##;

#[test]
fn programs_that_fail_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.mp4");
    fs::write(&film, b"\0\0\0\x20ftypisom\0\0\x02\0").unwrap();
    let frames = |n: usize| format!("printf '%{}s' x", 24 * n);
    let program = |rest: &str| format!("{VERSION}\n{COUNT}\n{rest}");
    let cases: Vec<(&str, String, &str, &str)> = vec![
        (
            "read",
            String::new(),
            "",
            "takes the program ffmpeg, which is not installed or not in PATH; install it (Debian and Ubuntu: apt-get install ffmpeg;",
        ),
        ("read", VERSION.to_owned(), "", "takes the program ffprobe, which is not installed"),
        (
            "read",
            "echo hello".to_owned(),
            PROBE,
            "is not ffmpeg: asked for its version, it answers \"hello\"",
        ),
        ("read", "exit 3".to_owned(), PROBE, "is not ffmpeg"),
        ("read", program(&frames(3)), PROBE, "read [3, 2, 4]"),
        ("read", program(&frames(3)), "echo 'width=99999999999'; echo height=2", "too large"),
        ("read", program(&frames(3)), "echo width=4; echo height=x", "no moving pictures"),
        ("read", program(&frames(3)), "while :; do echo width=0; done", "film file: ffprobe ended with"),
        (
            "read",
            program(&frames(3)),
            "echo '[mov @ 0x1] no such atom' >&2; exit 1",
            "film file: no such atom; get a fresh copy",
        ),
        (
            "read",
            format!("{VERSION}\necho garbage"),
            PROBE,
            "answers \"garbage\" where a frame's checksum should be",
        ),
        (
            "read",
            format!("{VERSION}\nwhile :; do printf xxxxxxxxxxxxxxxx; done"),
            PROBE,
            "answers \"xxxxxxxxxxx",
        ),
        ("read", format!("{VERSION}\necho '#dimensions 0: 4x2'"), PROBE, "it holds no frame"),
        ("read", format!("{VERSION}\nexit 0"), PROBE, "it holds no frame"),
        (
            "read",
            format!("{VERSION}\necho '0, 0, 0, 1, 12, 0x0'\necho '0, 1, 1, 1, 13, 0x0'"),
            PROBE,
            "change their size or kind at frame 1",
        ),
        (
            "read",
            format!("{VERSION}\necho '0, 0, 0, 1, 12, 0x0'\necho broken >&2; exit 1"),
            PROBE,
            "after 1 of its frames: broken",
        ),
        (
            "read",
            format!("{VERSION}\necho '#dimensions 0: 4x2'\necho '0, 0, 0, 1, 12, 0x0'\necho broken >&2"),
            PROBE,
            "it breaks off after 1 of its frames (ffmpeg says: broken)",
        ),
        (
            "read",
            program(&format!("{}; echo '[h264 @ 0x5] bad luck' >&2; exit 1", frames(1))),
            PROBE,
            "ffmpeg gave 1 of 3 frames, then stopped: bad luck",
        ),
        (
            "read",
            program(&format!("{}; kill -9 $$", frames(2))),
            PROBE,
            "ffmpeg gave 2 of 3 frames, then stopped: it ended with signal: 9",
        ),
        (
            "read",
            program(&frames(2)),
            PROBE,
            "ffmpeg gave 2 of 3 frames, then stopped: it ended with exit status: 0",
        ),
        ("read", program(&frames(4)), PROBE, "gives more than the 3 frames"),
        (
            "read",
            program(&format!("{}; exit 5", frames(3))),
            PROBE,
            "ended with exit status: 5 after the last frame",
        ),
        // It would never end by itself, and its complaints would fill any pipe.
        ("drop", program(&format!("{}; while :; do echo noise >&2; done", frames(1))), PROBE, "dropped"),
        ("write", VERSION.to_owned(), "", "false cannot write"),
        (
            "write",
            format!("{VERSION}\nread x < /dev/null; echo 'Unknown encoder' >&2; exit 1"),
            "",
            "film.mp4: ffmpeg stopped: Unknown encoder",
        ),
        ("write", format!("{VERSION}\nkill -9 $$"), "", "ffmpeg stopped: it does not say why"),
        (
            "write",
            format!("{VERSION}\nwhile read -r line; do :; done"),
            "",
            "ffmpeg stopped: it wrote nothing",
        ),
        ("write", String::new(), "", "true"),
    ];
    let n_cases = cases.len();
    for (task, ffmpeg, ffprobe, words) in cases {
        let fakes = fakes(&ffmpeg, ffprobe);
        let before = fs::read(&film).unwrap();
        let result = with_path(fakes.path(), task, &film);
        assert!(result.contains(words), "{ffmpeg}\n{ffprobe}\n{words:?} is not in {result:?}");
        assert_eq!(fs::read(&film).unwrap(), before);
        assert_eq!(names(folder.path()), ["film.mp4"]);
    }
    assert_eq!(n_cases, 27);
}

/// Before 5.1 the option that keeps frames as they are had another name.
#[test]
fn old_versions_get_their_own_option() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.mp4");
    fs::write(&film, b"\0\0\0\x20ftypisom\0\0\x02\0").unwrap();
    let mut n_cases = 0;
    for (version, option, scales) in [
        ("4.2.7", "-vsync passthrough", false),
        ("4.4.2", "-vsync passthrough", true),
        ("n7.1", "-fps_mode passthrough", true),
        ("N-1234-gabc", "-fps_mode passthrough", true),
    ] {
        let log = folder.path().join("log");
        let version = VERSION.replace("5.1.9", version);
        let ffmpeg = format!("{version}\necho \"$*\" >> '{}'\n{COUNT}\nprintf '%72s' x", log.display());
        let fakes = fakes(&ffmpeg, PROBE);
        assert_eq!(with_path(fakes.path(), "read", &film), "read [3, 2, 4]");
        let log_text = fs::read_to_string(&log).unwrap();
        assert_eq!(log_text.lines().count(), 2, "{log_text}");
        for line in log_text.lines() {
            assert!(line.contains(option), "{version}: {line}");
            assert!(line.contains("-protocol_whitelist file -i file:/"), "{line}");
        }
        assert_eq!(log_text.contains("-autoscale 0"), scales, "{log_text}");
        fs::remove_file(log).unwrap();
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}
