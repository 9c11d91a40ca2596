//! What of a file is not read, or not applied, is said.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use asmr::signal::Samples;
use asmr_media::{ReadOptions, open_signal};
use tiff::encoder::{TiffEncoder, colortype};

/// The notes about a picture of 2 × 3 pixels, and its values.
fn opened(path: &Path) -> (Vec<String>, Samples) {
    let mut opened = open_signal(path, &ReadOptions::default()).unwrap();
    assert_eq!(opened.reader.info().extents, [2, 3]);
    let samples = opened.reader.read(2).unwrap();
    (opened.notes, samples)
}

fn page(first: u8) -> [u8; 6] {
    std::array::from_fn(|i| first + i as u8)
}

#[test]
fn pages_behind_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.tif");
    let mut n_cases = 0;
    for n_pages in 1..4 {
        let mut encoder = TiffEncoder::new(File::create(&path).unwrap()).unwrap();
        for i in 0..n_pages {
            encoder.write_image::<colortype::Gray8>(3, 2, &page(10 * i)).unwrap();
        }
        drop(encoder);
        let (notes, samples) = opened(&path);
        assert_eq!(samples, Samples::U8(page(0).to_vec()));
        assert_eq!(notes.len(), usize::from(n_pages > 1), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains("more pages than one")), "{notes:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
}

#[test]
fn frames_of_an_animated_png() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.png");
    let mut n_cases = 0;
    for n_frames in 1..4 {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(&path).unwrap()), 3, 2);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_animated(n_frames, 0).unwrap();
        let mut writer = encoder.write_header().unwrap();
        for i in 0..n_frames {
            writer.write_image_data(&page(10 * i as u8)).unwrap();
        }
        writer.finish().unwrap();
        let (notes, samples) = opened(&path);
        assert_eq!(samples, Samples::U8(page(0).to_vec()));
        assert_eq!(notes.len(), usize::from(n_frames > 1), "{notes:?}");
        assert!(notes.iter().all(|note| note.contains(&format!("{n_frames} frames"))), "{notes:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
}
