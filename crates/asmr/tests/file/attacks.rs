//! Attacks: right checksums, wrong content.

use std::time::{Duration, Instant};

use asmr::file::{AsmrFile, Limits};
use serde_json::Value;

use super::{SMALL, SMALL_WEIGHTS, crc32, f32_bytes, frame, prefix_and_header};

fn with(old: &str, new: &str) -> String {
    assert_eq!(SMALL.matches(old).count(), 1, "{old}");
    SMALL.replace(old, new)
}

/// Address space used at most so far, where the system tells (Linux).
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[test]
fn attacks_are_refused_quickly_and_with_a_reason() {
    let cases = attacks();
    assert_eq!(cases.len(), 84);
    let start = Instant::now();
    for (attack, bytes, reason) in &cases {
        for known_len in [Some(bytes.len() as u64), None] {
            match AsmrFile::read_from(&mut &bytes[..], known_len, &Limits::default()) {
                Ok(_) => panic!("{attack}: accepted"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(text.contains(reason), "{attack}: '{text}' does not say '{reason}'");
                    assert!(text.len() < 2000, "{attack}: a message of {} bytes", text.len());
                }
            }
        }
    }
    let elapsed = start.elapsed();
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}

/// Runs in a process of its own, where no other test takes address space.
#[test]
fn attacks_cost_no_memory() {
    const CHILD: &str = "ASMR_TEST_ATTACKS_CHILD";
    let Some(before) = peak_bytes() else {
        println!("skipped: this system does not tell how much memory a process has taken");
        return;
    };
    if std::env::var_os(CHILD).is_none() {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "attacks::attacks_cost_no_memory", "--test-threads=1", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("refused 168 times"), "{text}");
        return;
    }
    let mut n = 0;
    for (_, bytes, _) in attacks() {
        for known_len in [Some(bytes.len() as u64), None] {
            n += usize::from(AsmrFile::read_from(&mut &bytes[..], known_len, &Limits::default()).is_err());
        }
    }
    let more = peak_bytes().unwrap() - before;
    println!("refused {n} times, {more} bytes of address space more");
    // The smallest file that claims much claims 1 GiB. The system's allocator reserves up to 128 MiB per thread.
    assert!(more < 1 << 28, "{more} bytes more");
}

/// A file of version 3 of a network 16,384 wide, whose code is a byte long.
fn coded_byte() -> Vec<u8> {
    let header = r#"{"signal":{"extents":[8],"channels":1,"sample_type":"u8","color":null},"network":{"partition":{"extents":[8],"bases":[[2,2,2]]},"channels":1,"width":16384,"omega_0":30.0,"modulator":"linear"},"chunks":{"encoding":"coded","extent":8,"n":1}}"#;
    let header = format!("{header:w$}", w = header.len().next_multiple_of(8));
    let mut bytes = prefix_and_header(3, 0, header.len() as u32, header.as_bytes());
    let mut entry = (bytes.len() as u64 + 32).to_le_bytes().to_vec();
    entry.extend(1u64.to_le_bytes());
    entry.extend(crc32(&[1]).to_le_bytes());
    entry.extend([0; 4]);
    bytes.extend(&entry);
    bytes.extend(crc32(&entry).to_le_bytes());
    bytes.extend([0, 0, 0, 0, 1]);
    bytes
}

/// Name of the attack, the file, and what the refusal must say.
fn attacks() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let weights = f32_bytes(&SMALL_WEIGHTS);
    let network = |partition: &str, width: usize, modulator: &str, n_bytes: u64| {
        let extents = serde_json::from_str::<Value>(partition).unwrap()["extents"].clone();
        format!(
            r#"{{"signal":{{"extents":{extents},"channels":1,"sample_type":"u8","color":null}},"network":{{"partition":{partition},"channels":1,"width":{width},"omega_0":30.0,"modulator":"{modulator}"}},"weights":{{"encoding":"f32","n_bytes":{n_bytes}}}}}"#
        )
    };
    let mut nan = SMALL_WEIGHTS;
    nan[3] = f32::NAN;
    let mut infinite = SMALL_WEIGHTS;
    infinite[8] = f32::NEG_INFINITY;
    let both = |extents: &str| SMALL.replace("\"extents\":[6]", &format!("\"extents\":{extents}"));
    let framed = |header: &str| frame(header, &weights);
    let raw_header = |version, flags, len: u32, header: &[u8]| {
        let mut bytes = prefix_and_header(version, flags, len, header);
        bytes.extend(&weights);
        bytes.extend(crc32(&bytes).to_le_bytes());
        bytes
    };
    let wide = 16_384u64;
    vec![
        // Lengths.
        ("header length 4 GiB", raw_header(1, 0, u32::MAX - 7, b""), "limit"),
        ("header length past the end", raw_header(1, 0, 65_536, SMALL.as_bytes()), "cut off"),
        ("header length not a multiple of 8", raw_header(1, 0, 13, b"0123456789abc"), "multiple of 8"),
        ("header of length 0", raw_header(1, 0, 0, b""), "invalid"),
        (
            "weights 2^63 bytes long",
            framed(&with("\"n_bytes\":36", "\"n_bytes\":9223372036854775808")),
            "bytes of weights",
        ),
        (
            "weights 2^64-1 bytes long",
            framed(&with("\"n_bytes\":36", "\"n_bytes\":18446744073709551615")),
            "bytes of weights",
        ),
        (
            "weights 2^64 bytes long",
            framed(&with("\"n_bytes\":36", "\"n_bytes\":18446744073709551616")),
            "invalid",
        ),
        (
            "weights one byte longer than the network",
            framed(&with("\"n_bytes\":36", "\"n_bytes\":37")),
            "bytes of weights",
        ),
        ("no weights at all", frame(SMALL, b""), "cut off"),
        ("one weight too many", frame(SMALL, &f32_bytes(&[0.0; 10])), "damaged"),
        ("a byte of code for 2^28 weights", coded_byte(), "what an encoder writes"),
        // Versions.
        ("version 5", raw_header(5, 0, 8, b"whatever"), "version 5"),
        ("version 65535", raw_header(65_535, 7, 9, b"whatever"), "version 65535"),
        ("version 0", raw_header(0, 0, 8, b"whatever"), "version 0"),
        ("unknown flag", raw_header(1, 0x8000, 8, b"whatever"), "flags"),
        ("unknown encoding", framed(&with("\"encoding\":\"f32\"", "\"encoding\":\"zip\"")), "zip"),
        // Shapes.
        (
            "extents of 2^31 on four axes",
            frame(
                &network(
                    r#"{"extents":[2147483648,2147483648,2147483648,2147483648],"bases":[[2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2],[2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2],[2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2],[2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2]]}"#,
                    1,
                    "linear",
                    4 * (5 + 29 * 2 + 30 * 4 + 2),
                ),
                &[],
            ),
            "decoded values",
        ),
        ("extent 2^63", framed(&both("[9223372036854775808]")), "extent"),
        ("extent 2^64", framed(&both("[18446744073709551616]")), "invalid"),
        ("extent 0", framed(&both("[0]")), "extent"),
        ("negative extent", framed(&both("[-6]")), "invalid"),
        ("float as extent", framed(&both("[6.0]")), "invalid"),
        ("float with exponent as extent", framed(&both("[6e0]")), "invalid"),
        ("text as extent", framed(&both("[\"6\"]")), "invalid"),
        ("no extents", framed(&both("[]")), "axes"),
        ("five axes", framed(&both("[6,1,1,1,1]")), "axes"),
        ("ten thousand axes", framed(&both(&format!("[{}1]", "1,".repeat(9_999)))), "axes"),
        (
            "extents that differ",
            framed(&with("{\"extents\":[6],\"bases\"", "{\"extents\":[5],\"bases\"")),
            "contradicts",
        ),
        (
            "channels that differ",
            framed(&with("\"channels\":1,\"sample_type\"", "\"channels\":2,\"sample_type\"")),
            "contradicts",
        ),
        ("65 channels", framed(&SMALL.replace("\"channels\":1", "\"channels\":65")), "channels"),
        (
            "channels 2^64-1",
            framed(&SMALL.replace("\"channels\":1", "\"channels\":18446744073709551615")),
            "channels",
        ),
        ("color of another shape", framed(&with("\"color\":null", "\"color\":\"rgb\"")), "Rgb"),
        ("unknown color", framed(&with("\"color\":null", "\"color\":\"cmyk\"")), "cmyk"),
        (
            "bases whose product overflows",
            framed(&with("[[2,3]]", "[[2147483648,2147483648,2147483648,2147483648]]")),
            "multiply",
        ),
        (
            "bases of 2^64-1",
            framed(&with("[[2,3]]", "[[18446744073709551615,18446744073709551615]]")),
            "base",
        ),
        ("base 0", framed(&with("[[2,3]]", "[[0,3]]")), "base 0"),
        ("bases that do not reach the extent", framed(&with("[[2,3]]", "[[2,2]]")), "at least"),
        ("a thousand levels", framed(&with("[[2,3]]", &format!("[[{}3]]", "1,".repeat(999)))), "levels"),
        (
            "2^24 digit tuples for 6 samples",
            frame(
                &network(
                    r#"{"extents":[6],"bases":[[1,16777216]]}"#,
                    64,
                    "linear",
                    4 * (64 + 64 + 64 + 64 + 1),
                ),
                &[0; 4 * 257],
            ),
            "digit table",
        ),
        ("2^31 digit tuples", framed(&with("[[2,3]]", "[[1,2147483648]]")), "digit tuples"),
        ("one list of bases per two axes", framed(&with("[[2,3]]", "[[2,3],[2,3]]")), "lists of bases"),
        (
            "width 16384 without data",
            frame(
                &network(
                    r#"{"extents":[8],"bases":[[2,2,2]]}"#,
                    16_384,
                    "linear",
                    4 * (wide * wide + 6 * wide + 1),
                ),
                b"",
            ),
            "cut off",
        ),
        (
            "width 16384 on 4 layers",
            frame(&network(r#"{"extents":[64],"bases":[[2,2,2,2,2,2]]}"#, 16_384, "linear", 4), b""),
            "1073741824",
        ),
        ("width 2^63", framed(&with("\"width\":2", "\"width\":9223372036854775808")), "width"),
        ("width 0", framed(&with("\"width\":2", "\"width\":0")), "width"),
        (
            "table of 2^24 rows without data",
            frame(
                &network(
                    r#"{"extents":[6],"bases":[[1,16777216]]}"#,
                    16,
                    "table",
                    4 * (16 * 16_777_216 + 16 * 3 + 1),
                ),
                b"",
            ),
            "268435456 values in the levels' digit tables",
        ),
        (
            "table of 2^24 rows, 16384 wide",
            frame(&network(r#"{"extents":[6],"bases":[[1,16777216]]}"#, 16_384, "table", 4), b""),
            "274877",
        ),
        // Numbers.
        ("omega_0 of 0", framed(&with("30.0", "0")), "omega_0"),
        ("omega_0 of 1e39, infinite as f32", framed(&with("30.0", "1e39")), "omega_0"),
        ("omega_0 of 1e999", framed(&with("30.0", "1e999")), "invalid"),
        ("omega_0 of 1e-50, 0 as f32", framed(&with("30.0", "1e-50")), "omega_0"),
        ("omega_0 NaN", framed(&with("30.0", "NaN")), "invalid"),
        (
            "NaN weight with right checksum",
            frame(SMALL, &f32_bytes(&nan)),
            "weight 1 of tensor 'net.0.linear.bias' is NaN",
        ),
        ("infinite weight with right checksum", frame(SMALL, &f32_bytes(&infinite)), "finite"),
        // JSON.
        ("header of spaces", framed(&" ".repeat(65_000)), "invalid"),
        ("header of zero bytes", framed(&"\0".repeat(800)), "invalid"),
        ("header that is no UTF-8", raw_header(1, 0, 8, b"{\"\xFF\xFE\":1}"), "invalid"),
        ("header that is an array", framed("[]"), "no JSON object"),
        ("header with something after it", framed(&format!("{SMALL}{{}}")), "invalid"),
        (
            "parts as arrays",
            framed(&with(r#"{"encoding":"f32","n_bytes":36}"#, r#"["f32",36]"#)),
            "'weights'",
        ),
        (
            "partition as an array",
            framed(&with(r#"{"extents":[6],"bases":[[2,3]]}"#, "[[6],[[2,3]]]")),
            "'network.partition'",
        ),
        (
            "object as sample type",
            framed(&with(r#""sample_type":"f32""#, r#""sample_type":{"f32":null}"#)),
            "'signal.sample_type'",
        ),
        (
            "object as modulator",
            framed(&with(r#""modulator":"linear""#, r#""modulator":{"linear":null}"#)),
            "'network.modulator'",
        ),
        (
            "value range that is none",
            framed(&with("\"color\":null", "\"color\":null,\"value_range\":null")),
            "'signal.value_range'",
        ),
        (
            "media that are none",
            framed(&with("\"color\":null", "\"color\":null,\"media\":{\"kind\":\"plain\"}")),
            "'signal.media'",
        ),
        ("60,000 open brackets", framed(&"[".repeat(60_000)), "deeper"),
        (
            "60,000 open braces in the fit record",
            framed(&format!("{},\"fit\":{}", &SMALL[..SMALL.len() - 1], "{\"a\":".repeat(10_000))),
            "deeper",
        ),
        (
            "fit record one level too deep",
            framed(&format!(
                "{},\"fit\":{{\"a\":{}1{}}}}}",
                &SMALL[..SMALL.len() - 1],
                "[".repeat(16),
                "]".repeat(16)
            )),
            "deeper",
        ),
        ("fit record that is a number", framed(&format!("{},\"fit\":3}}", &SMALL[..SMALL.len() - 1])), "fit"),
        (
            "duplicate key at the top",
            framed(&format!("{},\"weights\":{{}}}}", &SMALL[..SMALL.len() - 1])),
            "twice",
        ),
        ("duplicate key in a part", framed(&with("\"width\":2", "\"width\":2,\"width\":3")), "twice"),
        (
            "duplicate key in the fit record",
            framed(&format!("{},\"fit\":{{\"a\":1,\"a\":1}}}}", &SMALL[..SMALL.len() - 1])),
            "twice",
        ),
        (
            "unknown field at the top",
            framed(&format!("{},\"extra\":1}}", &SMALL[..SMALL.len() - 1])),
            "extra",
        ),
        (
            "unknown field with a name of 60,000 characters",
            framed(&format!("{},\"{}\":1}}", &SMALL[..SMALL.len() - 1], "é".repeat(30_000))),
            "unknown field",
        ),
        (
            "unknown field of the network, as long",
            framed(&with("\"width\":2", &format!("\"width\":2,\"{}\":1", "é".repeat(30_000)))),
            "unknown field",
        ),
        (
            "key of 60,000 characters twice",
            framed(&format!("{{\"{0}\":1,\"{0}\":1}}", "é".repeat(15_000))),
            "field",
        ),
        ("unknown field of the signal", framed(&with("\"color\":null", "\"color\":null,\"dpi\":72")), "dpi"),
        ("unknown field of the network", framed(&with("\"width\":2", "\"width\":2,\"depth\":1")), "depth"),
        ("unknown field of the partition", framed(&with("\"bases\"", "\"strides\":[],\"bases\"")), "strides"),
        ("unknown field of the weights", framed(&with("\"n_bytes\":36", "\"n_bytes\":36,\"crc\":0")), "crc"),
        ("missing part", framed(r#"{"signal":{"extents":[6],"channels":1,"sample_type":"f32"}}"#), "network"),
        ("missing field", framed(&with("\"width\":2,", "")), "width"),
        ("unknown modulator", framed(&with("\"linear\"", "\"cubic\"")), "cubic"),
        ("unknown sample type", framed(&with("\"sample_type\":\"f32\"", "\"sample_type\":\"f64\"")), "f64"),
    ]
}
