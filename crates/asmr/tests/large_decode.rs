//! Large requests are decoded in parts: with bounded memory, and the same bits. Alone in its file: the peak is the whole process's.

use asmr::inference::{Decoder, Request};
use asmr::network::{Modulator, Network, NetworkConfig};
use asmr::partition::{Partition, parse_bases};
use asmr::walk::Region;

/// The largest resident size so far, in bytes, from the kernel.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

fn network(extents: &[usize], bases: &str, channels: usize) -> Network {
    let partition = Partition::new(extents, &parse_bases(bases).unwrap()).unwrap();
    let config = NetworkConfig { partition, channels, width: 1, omega_0: 30.0, modulator: Modulator::Linear };
    Network::init(config, 7, 1.0).unwrap()
}

fn decode(decoder: &Decoder, region: Region, thumbnail: usize, partition: &Partition) -> Vec<f32> {
    let request = Request { region, thumbnail };
    let extents = request.output_extents(partition).unwrap();
    let mut out = vec![f32::NAN; extents.iter().product::<usize>() * 2];
    decoder.decode(&request, &mut out).unwrap();
    out
}

/// Cells of one sample, each of which would be listed by itself.
fn memory_is_bounded() {
    const N: usize = 1 << 20;
    let network = network(&[1, N], &format!("1,1;{N},1"), 1);
    let decoder = Decoder::new(&network);
    let mut out = vec![0u8; N];
    let before = peak_bytes();
    decoder.decode(&Request::whole(&network.config().partition), &mut out).unwrap();
    let Some((before, after)) = before.zip(peak_bytes()) else {
        println!("skipped: this system does not tell how much memory a process has taken");
        return;
    };
    let grown = after - before;
    println!("{N} samples, cells of one: peak +{} MB", grown / 1_000_000);
    // At most 200 bytes for each of 2^18 cells; all cells listed together took 200 MB.
    assert!(grown < 100_000_000, "{grown} bytes more");
}

/// Requests of more than 2^18 runs, and the same in bands that have fewer.
fn parts_have_the_same_bits() {
    let mut n_cases = 0;
    for (extents, bases, thumbnail, margin) in [
        (&[300_000][..], "300000,1", 1, 1000),
        (&[1, 800, 800], "1,1,1;2,200,2;2,200,2", 1, 12),
        // Padding, and boxes with less than the others.
        (&[799, 797], "4,50,4;3,150,2", 1, 0),
        (&[1059, 1059], "2,265,2;2,265,2", 2, 2),
        (&[30, 100, 110], "30,1;100,1;110,1", 1, 1),
        (&[9, 30, 40, 40], "1,3,3;5,3,2;1,20,2;2,20,1", 1, 0),
    ] {
        let network = network(extents, bases, 2);
        let (decoder, partition) = (Decoder::new(&network), &network.config().partition);
        let mut region = Region::whole(extents);
        for axis in (0..extents.len()).filter(|&axis| extents[axis] > 1) {
            region.start[axis] += margin;
            region.end[axis] -= if thumbnail == 1 { margin } else { 0 };
        }
        let (last, leaf) = (extents.len() - 1, partition.n_levels() - 2);
        assert!(partition.n_tuples(leaf) > 1024, "cells of level L-2 are too many for a tile");
        let outputs = Request { region, thumbnail }.output_extents(partition).unwrap();
        let columns = region.extent(last).div_ceil(partition.stride(last, leaf));
        let n_runs = outputs[..last].iter().product::<usize>() as u64 * columns;
        assert!(n_runs > 1 << 18, "{extents:?} has {n_runs} runs only");

        let all = decode(&decoder, region, thumbnail, partition);
        let axis = (0..extents.len()).find(|&axis| extents[axis] > 1).unwrap();
        let step = region.extent(axis).div_ceil(7).next_multiple_of(thumbnail as u64);
        let mut bands = Vec::new();
        let mut start = region.start;
        while start[axis] < region.end[axis] {
            let mut end = region.end;
            end[axis] = end[axis].min(start[axis] + step);
            bands.extend(decode(&decoder, Region { start, end }, thumbnail, partition));
            start[axis] = end[axis];
        }
        assert_eq!(all.len(), bands.len(), "{extents:?}");
        let wrong = all.iter().zip(&bands).position(|(a, b)| a.to_bits() != b.to_bits());
        assert_eq!(wrong, None, "{extents:?}, {bases}, thumbnail {thumbnail}, {region:?}");
        n_cases += 1;
    }
    assert_eq!(n_cases, 6);
}

#[test]
fn large_requests_are_decoded_in_parts() {
    memory_is_bounded();
    parts_have_the_same_bits();
}
