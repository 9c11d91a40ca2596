//! What a fit shows while it runs: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use asmr::signal::{Media, SignalInfo};
use asmr_train::fit::FitEvent;
use indicatif::{ProgressBar, ProgressStyle};

use crate::error::say;
use crate::report::duration;

/// Parts that the bar counts in.
const PARTS: u64 = 1000;
/// Time between two looks of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// Time between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// A listener for the events of a fit.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    /// Time between two updates; `None` when nothing is to be shown.
    interval: Option<Duration>,
    start: Instant,
    shown: Instant,
    target_psnr_db: Option<f64>,
    /// Samples visited so far, and what a million of them is called.
    n_samples: u64,
    unit: &'static str,
    /// The first step of this run, of a fit that was gone on with.
    first_step: Option<u32>,
    began_at: f64,
}

impl Progress {
    /// A bar on a terminal, otherwise `heading` and a line now and then; with `quiet` neither.
    pub(crate) fn start(heading: &str, quiet: bool, target_psnr_db: Option<f64>, info: &SignalInfo) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        if !quiet {
            say(heading);
        }
        let bar = (!quiet && is_terminal).then(|| {
            let style = ProgressStyle::with_template("{bar:24} {percent:>3}%  {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(PARTS).with_style(style)
        });
        let interval = if quiet { None } else { Some(if bar.is_some() { REDRAW } else { LINE }) };
        let now = Instant::now();
        let unit = match info.media {
            Media::Plain if info.color.is_some() => "Mpx",
            Media::Volume(_) | Media::Shape(_) => "Mvoxel",
            _ => "Msample",
        };
        Self {
            bar,
            interval,
            start: now,
            shown: now,
            target_psnr_db,
            n_samples: 0,
            unit,
            first_step: None,
            began_at: 0.0,
        }
    }

    /// Takes an event.
    pub(crate) fn event(&mut self, event: &FitEvent) {
        match event {
            FitEvent::Step { step, psnr_db, progress, n_samples } => {
                self.n_samples += n_samples;
                if self.first_step.is_none() {
                    (self.first_step, self.began_at) = (Some(step - 1), *progress);
                }
                if self.interval.is_none_or(|interval| self.shown.elapsed() < interval) {
                    return;
                }
                self.shown = Instant::now();
                let text = self.text(*step, *psnr_db, *progress);
                if let Some(bar) = &self.bar {
                    bar.set_position((progress * PARTS as f64) as u64);
                    bar.set_message(text);
                } else {
                    say(&format!("{:3.0} %: {text}", 100.0 * progress));
                }
            }
            // Said even with --quiet: it is no progress.
            FitEvent::Recovered { step, reason, rate_factor } => {
                let sentence = format!(
                    "the fit diverged at step {step} ({reason}); it goes on from its last good state with {rate_factor} of the learning rate"
                );
                match &self.bar {
                    Some(bar) => bar.suspend(|| say(&sentence)),
                    None => say(&sentence),
                }
            }
        }
    }

    fn text(&self, step: u32, psnr_db: f64, progress: f64) -> String {
        let elapsed = self.start.elapsed().as_secs_f64();
        let target = self.target_psnr_db.map_or_else(String::new, |target| format!(" of {target}"));
        let done = progress - self.began_at;
        format!(
            "step {step}  {psnr_db:.2}{target} dB  {:.1} steps/s  {:.1} {}/s  ETA {}",
            f64::from(step - self.first_step.unwrap_or(0)) / elapsed,
            self.n_samples as f64 / elapsed / 1e6,
            self.unit,
            duration(elapsed * (1.0 - progress) / done.max(1e-9))
        )
    }

    /// Takes the bar away; tells how many samples were visited, and in what time.
    pub(crate) fn finish(self) -> (u64, Duration) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        (self.n_samples, self.start.elapsed())
    }
}

/// Does something that takes a while after a fit; a terminal shows what, unless `quiet`.
pub(crate) fn showing<T>(what: &'static str, quiet: bool, work: impl FnOnce() -> T) -> T {
    if quiet || !std::io::stderr().is_terminal() {
        return work();
    }
    let spinner = ProgressBar::new_spinner().with_message(what);
    spinner.enable_steady_tick(REDRAW);
    let result = work();
    spinner.finish_and_clear();
    result
}
