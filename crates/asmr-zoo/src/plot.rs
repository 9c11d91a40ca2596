//! Curves as SVG, so that plots come from results/ without tools.
//!
//! Plain standard library: the project's own tasks, which have no dependencies, take this file as a module of theirs.

use std::fmt::Write as _;

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// As the legend says.
    pub name: String,
    /// Its points, in order.
    pub points: Vec<(f64, f64)>,
}

/// Where an axis has marks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// At whole multiples of this; equal distances are equal differences.
    Linear(f64),
    /// At powers of ten and, over few of them, at twice and five times these; equal distances are equal ratios.
    Log,
}

/// An axis of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What it shows.
    pub label: String,
    /// The value at its start.
    pub least: f64,
    /// The value at its end, above that at its start.
    pub most: f64,
    /// Its marks.
    pub scale: Scale,
}

/// A plot of curves; points outside the axes' ranges are left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// Stands above it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Curves, the first drawn first.
    pub curves: Vec<Curve>,
}

impl Axis {
    /// A linear axis from `least` to `most` with a mark at every multiple of `step`.
    #[must_use]
    pub fn linear(label: &str, least: f64, most: f64, step: f64) -> Self {
        Self { label: label.to_owned(), least, most, scale: Scale::Linear(step) }
    }

    /// A linear axis on which all of `values` lie, with four to a dozen marks. None without a finite value.
    #[must_use]
    pub fn over(label: &str, values: &[f64]) -> Option<Self> {
        let (least, most) = range(values)?;
        let span = if most > least { most - least } else { least.abs().max(1.0) };
        // The largest of 1, 2 and 5 times a power of ten that leaves four marks.
        let power = 10f64.powf((span / 4.0).log10().floor());
        let step = [5.0, 2.0, 1.0].map(|m| m * power).into_iter().find(|step| span / step >= 4.0 - 1e-9);
        let step = step.unwrap_or(power);
        // A little room, so that no point lies on the frame.
        let (least, most) = (((least - 0.02 * span) / step).floor(), ((most + 0.02 * span) / step).ceil());
        Some(Self::linear(label, least * step, most * step, step))
    }

    /// A logarithmic axis on which all of `values` that are above 0 lie. None without one.
    #[must_use]
    pub fn over_log(label: &str, values: &[f64]) -> Option<Self> {
        let positive: Vec<f64> = values.iter().copied().filter(|&value| value > 0.0).collect();
        let (least, most) = range(&positive)?;
        Some(Self { label: label.to_owned(), least: least / 1.3, most: most * 1.3, scale: Scale::Log })
    }

    /// Where a value is, from 0 (start) to 1 (end); outside for others, and for those that have no place.
    fn at(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear(_) => (value - self.least) / (self.most - self.least),
            Scale::Log => (value / self.least).ln() / (self.most / self.least).ln(),
        }
    }

    fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear(step) => {
                let (first, last) = ((self.least / step).ceil(), (self.most / step + 1e-9).floor());
                (first as i64..=last as i64).map(|i| i as f64 * step).collect()
            }
            Scale::Log => {
                let (first, last) = (self.least.log10().floor() as i32, self.most.log10().ceil() as i32);
                let factors: &[f64] = if last - first > 3 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let all = (first..=last).flat_map(|power| factors.iter().map(move |f| f * 10f64.powi(power)));
                all.filter(|&value| self.least <= value && value <= self.most).collect()
            }
        }
    }
}

fn range(values: &[f64]) -> Option<(f64, f64)> {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    finite.fold(None, |range: Option<(f64, f64)>, v| {
        Some(range.map_or((v, v), |(least, most)| (least.min(v), most.max(v))))
    })
}

/// The least width and height; a long legend makes it larger.
const SIZE: (f64, f64) = (760.0, 480.0);
/// What a character of the legend is given: more than most have.
const CHARACTER: f64 = 7.2;
/// From one line of the legend to the next.
const LINE: f64 = 22.0;
/// Left, top, right and bottom of the axes.
const FRAME: (f64, f64, f64, f64) = (60.0, 36.0, 590.0, 430.0);
/// Told apart by people who see no red or green as well (Okabe and Ito).
const COLOURS: [&str; 7] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];

impl Plot {
    /// The picture.
    #[must_use]
    pub fn svg(&self) -> String {
        self.svg_with("")
    }

    /// The picture with a line below it that says where it comes from.
    #[must_use]
    pub fn svg_with(&self, note: &str) -> String {
        let (left, top, right, bottom) = FRAME;
        let longest = self.curves.iter().map(|curve| curve.name.chars().count()).max().unwrap_or(0);
        let width = SIZE.0.max((right + 48.0 + CHARACTER * longest as f64).ceil());
        let height = SIZE.1.max(top + LINE * (self.curves.len() + 1) as f64);
        let note_height = if note.is_empty() { 0.0 } else { 20.0 };
        let place = |(x, y): (f64, f64)| {
            (left + (right - left) * self.x.at(x), bottom - (bottom - top) * self.y.at(y))
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{left}\" y=\"22\" font-size=\"15\">{}</text>\n",
            width,
            height + note_height,
            escaped(&self.title)
        );
        if !note.is_empty() {
            let y = height + 8.0;
            let note = escaped(note);
            let _ =
                writeln!(out, "<text x=\"{left}\" y=\"{y}\" font-size=\"11\" fill=\"#555555\">{note}</text>");
        }
        for value in self.x.marks() {
            let (x, _) = place((value, self.y.least));
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                shown(value)
            );
        }
        for value in self.y.marks() {
            let (_, y) = place((self.x.least, value));
            let _ = writeln!(
                out,
                "<line x1=\"{left}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 6.0,
                y + 4.0,
                shown(value)
            );
        }
        let middle = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            middle.0,
            bottom + 40.0,
            escaped(&self.x.label),
            middle.1,
            escaped(&self.y.label)
        );
        let inside =
            |&(x, y): &(f64, f64)| (0.0..=1.0).contains(&self.x.at(x)) && (0.0..=1.0).contains(&self.y.at(y));
        for (i, curve) in self.curves.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let places: Vec<(f64, f64)> = curve.points.iter().copied().filter(inside).map(place).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            // Past the last colour they come again, in dashes and with hollow points.
            let (dashes, fill) =
                if i < COLOURS.len() { ("", colour) } else { (" stroke-dasharray=\"6 4\"", "#ffffff") };
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>",
                path.join(" ")
            );
            for (x, y) in places {
                let _ = writeln!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{fill}\" stroke=\"{colour}\"/>"
                );
            }
            let y = top + 14.0 + LINE * i as f64;
            let _ = writeln!(
                out,
                "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\"{dashes}/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                right + 12.0,
                right + 34.0,
                right + 40.0,
                y + 4.5,
                escaped(&curve.name)
            );
        }
        out + "</svg>\n"
    }
}

/// A mark's number without the noise of its last bits.
fn shown(value: f64) -> String {
    if value.abs() >= 1e5 {
        return format!("{value:e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_where_they_belong() {
        let plot = Plot {
            title: "a < b".to_owned(),
            x: Axis::linear("x", 0.0, 1.0, 0.5),
            y: Axis::linear("y", 20.0, 40.0, 10.0),
            curves: vec![Curve { name: "c".to_owned(), points: vec![(0.0, 20.0), (1.0, 40.0), (2.0, 30.0)] }],
        };
        let svg = plot.svg();
        // The corners of the frame; what is outside is not drawn.
        assert!(svg.contains("points=\"60.0,430.0 590.0,36.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains(">0.5</text>") && svg.contains(">30</text>"));
        assert_eq!(plot.x.marks(), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn legends_and_notes_have_room() {
        let curve = |name: &str| Curve { name: name.to_owned(), points: vec![(0.5, 30.0)] };
        let plot = |names: &[&str]| Plot {
            title: String::new(),
            x: Axis::linear("x", 0.0, 1.0, 0.5),
            y: Axis::linear("y", 20.0, 40.0, 10.0),
            curves: names.iter().map(|name| curve(name)).collect(),
        };
        assert!(plot(&["short"]).svg().contains("viewBox=\"0 0 760 480\""));
        let long = plot(&["ASMR, 6 layers, as published"; 30]).svg_with("seeds 0 & 1");
        // 28 characters from 630 on, and 8 beside them; 30 lines below 36; the note.
        assert!(
            long.contains("viewBox=\"0 0 840 738\"") && long.contains(">seeds 0 &amp; 1</text>"),
            "{long:.300}"
        );
    }

    #[test]
    fn axes_hold_their_values() {
        let values = [23.1, 41.9, f64::NAN];
        let axis = Axis::over("dB", &values).expect("values");
        assert_eq!((axis.least, axis.most, axis.scale), (22.0, 44.0, Scale::Linear(2.0)));
        let flat = Axis::over("dB", &[30.0]).expect("a value");
        assert!(flat.least < 30.0 && flat.most > 30.0 && flat.marks().len() >= 2, "{flat:?}");
        let log = Axis::over_log("MAC", &[0.0, 40.0, 200_000.0]).expect("values");
        assert_eq!(log.marks(), [100.0, 1000.0, 10_000.0, 100_000.0]);
        assert!((log.at((40f64 * 200_000.0).sqrt()) - 0.5).abs() < 1e-12 && log.at(0.0) < 0.0);
        assert_eq!(Axis::over_log("s", &[2.0, 9.0]).expect("values").marks(), [2.0, 5.0, 10.0]);
        assert!(Axis::over("x", &[]).is_none() && Axis::over_log("x", &[0.0]).is_none());
    }
}
