//! Comparisons: budgets are kept, figures are those of independent recomputation, and the page is one whole file.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use asmr::signal::{ColorType, SampleType, Samples, Signal, SignalInfo};
use asmr_kernels::IsaLevel;
use asmr_zoo::baseline::Config;
use asmr_zoo::budget::Budget;
use asmr_zoo::compare::{COLUMNS, CompareError, Comparison, Event, Options, Row, compare, contestants};
use asmr_zoo::contestant::{Contestant, METHODS, Procedure, Settings};
use asmr_zoo::field::Shape;
use asmr_zoo::fit::Stop;
use asmr_zoo::page::page;
use asmr_zoo::rate_search::{MAX_RATES, RATE_FACTORS};

fn shape(rows: usize, columns: usize, channels: usize) -> Shape {
    Shape { extents: vec![rows, columns], channels }
}

/// A smooth picture with some texture.
fn picture(rows: usize, columns: usize, color: ColorType, sample_type: SampleType) -> Signal {
    let channels = color.n_channels();
    let value = |i: usize| {
        let (y, x, c) = (i / channels / columns, i / channels % columns, i % channels);
        let (y, x) = (y as f64 / 7.0, x as f64 / 9.0 + c as f64);
        0.5 + 0.3 * y.sin() * x.cos() + 0.1 * (5.0 * x + 3.0 * y).sin()
    };
    let values = (0..rows * columns * channels).map(value);
    let samples = match sample_type {
        SampleType::U16 => Samples::U16(values.map(|v| (v * 65535.0) as u16).collect()),
        _ => Samples::U8(values.map(|v| (v * 255.0) as u8).collect()),
    };
    Signal::new(SignalInfo::plain(vec![rows, columns], channels, sample_type, Some(color)), samples).unwrap()
}

fn options(methods: &[&str], budget: Budget, length: Stop) -> Options {
    Options { methods: methods.iter().map(|&name| name.to_owned()).collect(), budget, length, seed: 3 }
}

fn run(signal: &Signal, options: &Options) -> Result<Comparison, CompareError> {
    compare(signal, options, &AtomicBool::new(false), &mut |_| {})
}

/// What makes a contestant larger or smaller.
fn size(settings: &Settings) -> serde_json::Value {
    let json = serde_json::to_value(settings).unwrap();
    let fields = json.as_object().unwrap().values().next().unwrap();
    fields.get("width").or_else(|| fields.get("vertices")).unwrap().clone()
}

/// Every method keeps every budget by its own count, and comes near it where its size has fine steps.
#[test]
fn budgets_are_kept() {
    let shapes =
        [shape(512, 768, 3), shape(512, 512, 1), shape(64, 48, 4), shape(37, 101, 2), shape(16, 16, 1)];
    let budgets = [
        Budget::Params(134_000),
        Budget::Params(20_000),
        Budget::Params(6_000),
        Budget::Mac(2_000.0),
        Budget::Mac(134_000.0),
    ];
    let (mut n_within, mut n_refused) = (0, 0);
    for shape in &shapes {
        for budget in budgets {
            for method in METHODS {
                let contestant = match Contestant::within(method, shape, budget).expect("it is known") {
                    Ok(contestant) => contestant,
                    Err(error) => {
                        let said = error.to_string();
                        assert!(said.contains("smallest") || said.contains("cannot be met"), "{said}");
                        n_refused += 1;
                        continue;
                    }
                };
                let cost = contestant.cost();
                let case = format!("{method} on {shape:?} within {budget}: {cost:?}");
                let share = match budget {
                    Budget::Params(most) => cost.n_params as f64 / most as f64,
                    Budget::Mac(most) => cost.mac_exec / most,
                    Budget::Time(_) => unreachable!(),
                };
                assert!(share <= 1.0, "{case}");
                // One neuron more of these is a few per cent at most.
                if ["siren", "ffn"].contains(&method) && !matches!(budget, Budget::Params(6_000)) {
                    assert!(share > 0.9, "{case}");
                }
                if method == "asmr" && matches!(budget, Budget::Params(_)) {
                    assert!(share > 0.85, "{case}");
                }
                // The stored numbers there really are.
                let params = match contestant.settings() {
                    Settings::Baseline(method) => {
                        Config { shape: shape.clone(), method }.build().unwrap().init(0).len()
                    }
                    Settings::Asmr(config) => config.n_params(),
                };
                assert_eq!(params, cost.n_params, "{case}");
                n_within += 1;
            }
        }
    }
    assert_eq!(n_within + n_refused, 5 * 5 * 8);
    assert!(n_within >= 160, "{n_within} within, {n_refused} not");
}

#[test]
fn a_larger_budget_gives_no_smaller_method() {
    let shape = shape(96, 128, 3);
    let mut n_cases = 0;
    for method in METHODS {
        let of = |budget| match Contestant::within(method, &shape, budget).unwrap() {
            Ok(contestant) => contestant.cost().n_params,
            Err(_) => 0,
        };
        let counts: Vec<usize> = [10, 1_000, 10_000, 30_000, 100_000].map(Budget::Params).map(of).to_vec();
        assert!(counts.is_sorted(), "{method}: {counts:?}");
        assert!(counts[0] <= 10 && counts[4] > 0, "{method}: {counts:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 8);
    assert!(Contestant::within("nerf", &shape, Budget::Params(1000)).is_none());
}

/// The figures of a row, computed again from its weights by other ways.
fn check_row(row: &Row, signal: &Signal) {
    let info = signal.info();
    let shape = Shape::of(info);
    let values = match &row.settings {
        Settings::Baseline(method) => {
            let config = Config { shape: shape.clone(), method: method.clone() };
            let field = config.build().unwrap();
            assert_eq!(field.cost(), row.cost, "{}", row.method);
            // Magic, length, settings, weights, checksum.
            let settings = serde_json::to_vec(&config).unwrap().len();
            assert_eq!(row.bytes as usize, 8 + 4 + settings + 4 * row.params.len() + 4, "{}", row.method);
            field.decode(&row.params, 0..shape.n_samples(), IsaLevel::detect()).unwrap()
        }
        Settings::Asmr(config) => {
            let cost = asmr::cost::Cost::of(config);
            assert_eq!((row.cost.mac_paper, row.cost.mac_exec), (cost.mac_paper, cost.mac_exec));
            assert_eq!((row.cost.sin_exec, row.cost.table_reads), (cost.sin_exec, 0.0));
            let network = asmr::network::Network::new(config.clone(), row.params.clone()).unwrap();
            let mut values = vec![0.0; shape.n_samples() * shape.channels];
            let decoder = asmr::inference::Decoder::new(&network);
            decoder.decode(&asmr::inference::Request::whole(&config.partition), &mut values).unwrap();
            values
        }
    };
    assert_eq!(row.params.len(), row.cost.n_params, "{}", row.method);
    let (peak, original) = (info.peak(), signal.samples().doubles());
    let squares: f64 = values
        .iter()
        .zip(&original)
        .map(|(&y, x)| ((f64::from(y).clamp(0.0, 1.0) * peak).round() - x).powi(2))
        .sum();
    let db = 10.0 * (peak * peak * original.len() as f64 / squares).log10();
    // A value halfway between two may be rounded either way. Without an error there is no PSNR.
    let is_same = row.psnr_db.map_or(squares == 0.0, |psnr_db| (psnr_db - db).abs() < 1e-3);
    assert!(is_same, "{}: {:?}, not {db}", row.method, row.psnr_db);
    let ssim = asmr_media::ssim(&row.decoded, signal).unwrap();
    assert_eq!(row.ssim, ssim, "{}", row.method);
    assert!(row.decode_msamples_s.iter().all(|&speed| speed > 0.0) && row.fit_s > 0.0, "{}", row.method);
}

#[test]
fn rows_are_what_their_weights_are() {
    let signal = picture(40, 56, ColorType::Rgb, SampleType::U8);
    let mut events = Vec::new();
    let options = options(&METHODS, Budget::Params(6_000), Stop::Steps(12));
    let comparison = compare(&signal, &options, &AtomicBool::new(false), &mut |event| match event {
        Event::Begun { method, .. } => events.push(format!("begun {method}")),
        Event::Done(row) => events.push(format!("done {}", row.method)),
        Event::Refused(refusal) => events.push(format!("refused {}", refusal.method)),
        Event::Progress(share) => assert!((0.0..=1.0).contains(&share), "{share}"),
    })
    .unwrap();
    assert_eq!(comparison.rows.len() + comparison.refused.len(), 8);
    assert_eq!(events.len(), 2 * comparison.rows.len() + comparison.refused.len(), "{events:?}");
    assert!(comparison.rows.len() >= 6, "{}", comparison.table());
    for row in &comparison.rows {
        assert_eq!(row.steps, 12, "{}", row.method);
        assert!(row.cost.n_params <= 6_000 && row.trials.is_empty(), "{}", row.method);
        check_row(row, &signal);
    }
    // With steps, the same again to the bit.
    let again = run(&signal, &options).unwrap();
    let mut n_cases = 0;
    for (row, again) in comparison.rows.iter().zip(&again.rows) {
        assert_eq!((&row.params, row.psnr_db), (&again.params, again.psnr_db), "{}", row.method);
        n_cases += 1;
    }
    assert_eq!(n_cases, comparison.rows.len());
    let table = comparison.table();
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, COLUMNS);
    for (line, row) in table.lines().skip(1).zip(&comparison.rows) {
        assert_eq!(line.split_whitespace().collect::<Vec<_>>(), row.cells());
    }
    assert_eq!(table.lines().count(), 1 + 8);
}

#[test]
fn a_time_is_shared_with_the_search_of_a_rate() {
    let signal = picture(48, 48, ColorType::Gray, SampleType::U8);
    let budget = Budget::Time(Duration::from_millis(300));
    // The length of a budget of time is its own.
    let comparison = run(&signal, &options(&["asmr", "ffn", "ngp"], budget, Stop::Steps(1))).unwrap();
    assert_eq!(comparison.rows.len(), 3, "{}", comparison.table());
    for row in &comparison.rows {
        assert!(row.steps >= 1 && row.fit_s >= 0.3, "{}", comparison.table());
        check_row(row, &signal);
        if row.method == "asmr" {
            assert!(row.trials.is_empty() && matches!(row.procedure, Procedure::Asmr(_)));
            continue;
        }
        // And the best of them with a smaller batch.
        assert!((RATE_FACTORS.len()..=MAX_RATES + 1).contains(&row.trials.len()), "{:?}", row.trials);
        assert!(row.search_s > 0.0 && row.search_s < row.fit_s && row.rate_is_inside.is_some());
        let Procedure::Baseline(recipe) = &row.procedure else { panic!("{} has a recipe", row.method) };
        assert_eq!(recipe.rate, row.rate);
        let tried = row.trials.iter().filter_map(|trial| Some((trial.mse?, trial.rate)));
        let best = tried.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        // Lower only after the fit itself diverged.
        assert!(row.rate <= best.1, "{}: {} of {:?}", row.method, row.rate, row.trials);
        assert!(row.batch <= 48 * 48);
    }
    let usual = Contestant::within("siren", &shape(48, 48, 1), budget).unwrap().unwrap();
    assert_eq!(size(&usual.settings()), 256);
}

/// Fails unless tags are balanced and attributes quoted: enough of a parser for what is written here.
fn check_tags(html: &str) -> usize {
    const VOID: [&str; 2] = ["meta", "img"];
    let (mut open, mut n_tags, mut rest) = (Vec::new(), 0, html);
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        n_tags += 1;
        assert!(tag.matches('"').count().is_multiple_of(2) && !tag.contains('<'), "{tag:.80}");
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('!') || VOID.contains(&name) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{n_tags} tags on");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    n_tags
}

#[test]
fn the_page_needs_nothing_else() {
    let mut n_cases = 0;
    for (color, sample_type) in [
        (ColorType::Gray, SampleType::U8),
        (ColorType::GrayAlpha, SampleType::U16),
        (ColorType::Rgb, SampleType::U16),
        (ColorType::Rgba, SampleType::U8),
    ] {
        let signal = picture(20, 24, color, sample_type);
        let mut asked = options(&["asmr", "siren", "ngp", "plenoxels"], Budget::Params(900), Stop::Steps(3));
        asked.seed = n_cases;
        let comparison = run(&signal, &asked).unwrap();
        let html = page("<odd> & \"name\".png", &signal, &comparison).unwrap();
        assert!(check_tags(&html) > 60, "{html:.2000}");
        for method in ["asmr", "siren", "ngp", "plenoxels"] {
            assert!(html.contains(method), "{method}");
        }
        for row in &comparison.rows {
            for cell in row.cells() {
                assert!(html.contains(&format!(">{cell}</td>")), "{}: {cell}", row.method);
            }
        }
        for refusal in &comparison.refused {
            assert!(html.contains(&format!("{}: no row", refusal.method)));
        }
        for outside in ["http://", "https://", "<script", "<link", "url(", "@import", "<odd>"] {
            assert!(!html.contains(outside), "{outside}");
        }
        // The original, and of each row the picture and its errors.
        let sources: Vec<&str> =
            html.split("src=\"").skip(1).map(|part| part.split('"').next().unwrap()).collect();
        assert_eq!(sources.len(), 1 + 2 * comparison.rows.len());
        assert!(sources.iter().all(|source| source.starts_with("data:image/png;base64,iVBORw0KGgo")));
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}

#[test]
fn wrong_calls() {
    let signal = picture(16, 16, ColorType::Gray, SampleType::U8);
    let volume = SignalInfo::plain(vec![4, 4, 4], 1, SampleType::U8, None);
    let volume = Signal::new(volume, Samples::U8(vec![1; 64])).unwrap();
    let wide = SignalInfo::plain(vec![4, 4], 5, SampleType::U8, None);
    let wide = Signal::new(wide, Samples::U8(vec![1; 80])).unwrap();
    let (params, steps) = (Budget::Params(5_000), Stop::Steps(2));
    let cases: [(&Signal, Options, &[&str]); 6] = [
        (&signal, options(&["asmr", "nerf"], params, steps), &["'nerf'", "asmr, siren, ffn", "plenoxels"]),
        (&signal, options(&["ngp", "ngp"], params, steps), &["'ngp'", "twice"]),
        (&signal, options(&[], params, steps), &["no method", "asmr, siren"]),
        (&volume, options(&["siren"], params, steps), &["3 axes", "1 to 4 channels"]),
        (&wide, options(&["siren"], params, steps), &["5 channels", "1 to 4 channels"]),
        (
            &signal,
            options(&["siren", "ngp"], Budget::Params(3), steps),
            &["siren", "ngp", "params=3", "raise"],
        ),
    ];
    let mut n_cases = 0;
    for (signal, options, words) in cases {
        let said = run(signal, &options).expect_err("a refusal").to_string();
        for word in words {
            assert!(said.contains(word), "'{word}' is not said: {said}");
        }
        n_cases += 1;
    }
    assert_eq!(n_cases, 6);
    // One that is not within the budget keeps no other from its row.
    let some = options(&["siren", "kilonerf"], Budget::Params(200), steps);
    let (within, refused) = contestants(signal.info(), &some).unwrap();
    assert_eq!((within.len(), refused.len()), (1, 1));
    assert!(refused[0].method == "kilonerf" && refused[0].reason.contains("params=200"), "{refused:?}");
}

#[test]
fn an_interrupt_ends_it() {
    let signal = picture(32, 32, ColorType::Gray, SampleType::U8);
    let mut n_cases = 0;
    for method in ["asmr", "siren", "ngp"] {
        for length in [Stop::Steps(1_000_000_000), Stop::Time(Duration::from_secs(3600))] {
            let interrupt = AtomicBool::new(true);
            let done =
                compare(&signal, &options(&[method], Budget::Params(5_000), length), &interrupt, &mut |_| {});
            assert!(matches!(done, Err(CompareError::Interrupted)), "{method}");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 6);
}
