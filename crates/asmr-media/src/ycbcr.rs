//! RGB and YCbCr of 8 bits, by the matrix of Recommendation ITU-R BT.601-7 (sections 2.5.1 to 2.5.4).
//!
//! With R, G, B from 0 to 255, and `E` their luminance:
//!
//! ```text
//! E  = 0.299 R + 0.587 G + 0.114 B
//! Y  =  16 + 219/255 · E
//! Cb = 128 + 224/255 · (B − E) / 1.772
//! Cr = 128 + 224/255 · (R − E) / 1.402
//! ```
//!
//! and back. Where a file says that its range is full, 0, 255 and 255 stand for 16, 219 and 224 (as in JFIF). Both ways
//! end in the nearest whole number, clamped to 0 to 255; rounding to 8 bits on the way costs a colour up to 2 of 255.

/// Shares of red, green and blue in the luminance.
const RED: f64 = 0.299;
const GREEN: f64 = 0.587;
const BLUE: f64 = 0.114;
/// What `B − E` and `R − E` are divided by to reach from −127.5 to 127.5.
const BLUE_SPAN: f64 = 2.0 * (1.0 - BLUE);
const RED_SPAN: f64 = 2.0 * (1.0 - RED);
/// The chroma of grey.
const NEUTRAL: f64 = 128.0;

/// Which numbers black, white and the strongest colours are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Swing {
    black: f64,
    luma: f64,
    chroma: f64,
}

impl Swing {
    /// Black is 16, white 235, chroma 16 to 240: what films have.
    pub(crate) const LIMITED: Self = Self { black: 16.0, luma: 219.0, chroma: 224.0 };
    /// All 256 values.
    pub(crate) const FULL: Self = Self { black: 0.0, luma: 255.0, chroma: 255.0 };

    /// What a pair of chroma values adds to red, green and blue.
    #[inline]
    pub(crate) fn tint(self, cb: u8, cr: u8) -> [f64; 3] {
        let scale = 255.0 / self.chroma;
        let blue = (f64::from(cb) - NEUTRAL) * scale * BLUE_SPAN;
        let red = (f64::from(cr) - NEUTRAL) * scale * RED_SPAN;
        [red, -(RED * red + BLUE * blue) / GREEN, blue]
    }

    /// Red, green and blue of a luma value under a [`tint`](Self::tint).
    #[inline]
    pub(crate) fn rgb(self, y: u8, tint: [f64; 3]) -> [u8; 3] {
        let luminance = (f64::from(y) - self.black) * (255.0 / self.luma);
        tint.map(|t| nearest(luminance + t))
    }

    /// Y, Cb and Cr.
    #[inline]
    pub(crate) fn ycbcr(self, rgb: [u8; 3]) -> [u8; 3] {
        let [red, green, blue] = rgb.map(f64::from);
        let luminance = RED * red + GREEN * green + BLUE * blue;
        let scale = self.chroma / 255.0;
        [
            nearest(self.black + self.luma / 255.0 * luminance),
            nearest(NEUTRAL + scale / BLUE_SPAN * (blue - luminance)),
            nearest(NEUTRAL + scale / RED_SPAN * (red - luminance)),
        ]
    }
}

/// The nearest number of 8 bits. A cast cuts off and saturates, so this needs no call of a rounding function.
#[inline]
fn nearest(value: f64) -> u8 {
    (value + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard's own numbers: black, white and the 100 % colour bars in 8 bits (BT.601 with BT.801's bars).
    #[test]
    fn color_bars_are_those_of_the_standard() {
        let bars = [
            ([255, 255, 255], [235, 128, 128]),
            ([255, 255, 0], [210, 16, 146]),
            ([0, 255, 255], [170, 166, 16]),
            ([0, 255, 0], [145, 54, 34]),
            ([255, 0, 255], [106, 202, 222]),
            ([255, 0, 0], [81, 90, 240]),
            ([0, 0, 255], [41, 240, 110]),
            ([0, 0, 0], [16, 128, 128]),
        ];
        for (rgb, [y, cb, cr]) in bars {
            assert_eq!(Swing::LIMITED.ycbcr(rgb), [y, cb, cr], "{rgb:?}");
            let back = Swing::LIMITED.rgb(y, Swing::LIMITED.tint(cb, cr));
            for channel in 0..3 {
                assert!(back[channel].abs_diff(rgb[channel]) <= 1, "{rgb:?} came back as {back:?}");
            }
        }
        // JFIF: pure red.
        assert_eq!(Swing::FULL.ycbcr([255, 0, 0]), [76, 85, 255]);
    }

    /// The loss that the module's text states, over all colours.
    #[test]
    fn rounding_costs_at_most_two() {
        for (swing, bound) in [(Swing::LIMITED, 2), (Swing::FULL, 1)] {
            let mut worst = 0;
            for color in 0..1u32 << 24 {
                let [_, red, green, blue] = color.to_be_bytes();
                let [y, cb, cr] = swing.ycbcr([red, green, blue]);
                let back = swing.rgb(y, swing.tint(cb, cr));
                let error = back.iter().zip([red, green, blue]).map(|(&a, b)| a.abs_diff(b)).max().unwrap();
                worst = worst.max(error);
            }
            println!("{swing:?}: {worst}");
            assert_eq!(worst, bound, "{swing:?}");
        }
    }
}
