//! Curves as SVG, so that plots come from results/ without tools.

use std::fmt::Write as _;

/// A curve, its points in order.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot of curves over linear axes; points outside the axes' ranges are left out.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// What an axis shows, and its range.
    pub(crate) x: (String, f64, f64),
    pub(crate) y: (String, f64, f64),
    /// Distances of the axes' marks.
    pub(crate) steps: (f64, f64),
    pub(crate) curves: Vec<Curve>,
}

const SIZE: (f64, f64) = (760.0, 480.0);
/// Left, top, right and bottom of the axes.
const FRAME: (f64, f64, f64, f64) = (60.0, 36.0, 590.0, 430.0);
/// Told apart by people who see no red or green as well (Okabe and Ito).
const COLOURS: [&str; 7] = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];

impl Plot {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let (left, top, right, bottom) = FRAME;
        let at = |value: f64, (_, least, most): &(String, f64, f64)| (value - least) / (most - least);
        let place = |(x, y): (f64, f64)| {
            (left + (right - left) * at(x, &self.x), bottom - (bottom - top) * at(y, &self.y))
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
             <text x=\"{left}\" y=\"22\" font-size=\"15\">{}</text>\n",
            SIZE.0,
            SIZE.1,
            escaped(&self.title)
        );
        for value in marks(&self.x, self.steps.0) {
            let (x, _) = place((value, self.y.1));
            let _ = writeln!(
                out,
                "<line x1=\"{x:.1}\" y1=\"{top}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"#dddddd\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 18.0,
                shown(value)
            );
        }
        for value in marks(&self.y, self.steps.1) {
            let (_, y) = place((self.x.1, value));
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
            escaped(&self.x.0),
            middle.1,
            escaped(&self.y.0)
        );
        let inside = |&(x, y): &(f64, f64)| {
            (0.0..=1.0).contains(&at(x, &self.x)) && (0.0..=1.0).contains(&at(y, &self.y))
        };
        for (i, curve) in self.curves.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let places: Vec<(f64, f64)> = curve.points.iter().copied().filter(inside).map(place).collect();
            let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            for (x, y) in places {
                let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
            }
            let y = top + 14.0 + 22.0 * i as f64;
            let _ = writeln!(
                out,
                "<line x1=\"{:.1}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\
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

/// Whole multiples of a step within an axis' range.
fn marks((_, least, most): &(String, f64, f64), step: f64) -> Vec<f64> {
    let (first, last) = ((least / step).ceil() as i64, (most / step + 1e-9).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// A mark's number without the noise of its last bits.
fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
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
            x: ("x".to_owned(), 0.0, 1.0),
            y: ("y".to_owned(), 20.0, 40.0),
            steps: (0.5, 10.0),
            curves: vec![Curve { name: "c".to_owned(), points: vec![(0.0, 20.0), (1.0, 40.0), (2.0, 30.0)] }],
        };
        let svg = plot.svg();
        // The corners of the frame; what is outside is not drawn.
        assert!(svg.contains("points=\"60.0,430.0 590.0,36.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt; b") && svg.contains(">0.5</text>") && svg.contains(">30</text>"));
        assert_eq!(marks(&plot.x, 0.5), [0.0, 0.5, 1.0]);
    }
}
