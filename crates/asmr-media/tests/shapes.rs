//! Grids of meshes and meshes of grids, against geometry, the definition of the winding number, and libigl and trimesh
//! (`mesh_expected.tsv`, made by `gen_mesh_expected.py`).

use std::collections::HashMap;
use std::f64::consts::PI;
use std::path::Path;

use asmr::metadata::{Media, Shape, ShapeField};
use asmr::signal::{SampleType, Samples, Signal, SignalInfo, ValueRange};
use asmr_media::{
    Limits, MediaError, Mesh, SURFACE_LEVEL, ShapeNotes, ShapeOptions, ShapeReader, SliceReader,
    compare_meshes, iou, overlap, read_mesh, surface, voxelise, winding_number, write_mesh,
};

type Point = [f64; 3];

/// The unit cube, its fronts outwards: sides at z = 0, z = 1, y = 0, y = 1, x = 0, x = 1, two triangles each.
fn cube() -> Mesh {
    let vertices = (0..8).map(|i| [0, 1, 2].map(|axis| f64::from(i >> axis & 1))).collect();
    let sides = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];
    let triangles = sides.iter().flat_map(|&[a, b, c, d]| [[a, b, c], [a, c, d]]).collect();
    Mesh { vertices, triangles }
}

/// As in `gen_mesh_expected.py`.
fn torus(n_around: u32, n_tube: u32) -> Mesh {
    let mut mesh = Mesh::default();
    for u in 0..n_around {
        for v in 0..n_tube {
            let a = 2.0 * PI * f64::from(u) / f64::from(n_around);
            let b = 2.0 * PI * f64::from(v) / f64::from(n_tube);
            let ring = 1.0 + 0.4 * b.cos();
            mesh.vertices.push([ring * a.cos(), ring * a.sin(), 0.4 * b.sin()]);
            let at = |u: u32, v: u32| u % n_around * n_tube + v % n_tube;
            let [p, q, r, s] = [at(u, v), at(u + 1, v), at(u + 1, v + 1), at(u, v + 1)];
            mesh.triangles.extend([[p, q, r], [p, r, s]]);
        }
    }
    mesh
}

fn cut(mut mesh: Mesh, keep: f64) -> Mesh {
    let vertices = &mesh.vertices;
    mesh.triangles.retain(|t| t.iter().map(|&i| vertices[i as usize][2]).sum::<f64>() >= keep);
    mesh
}

fn flip(mut mesh: Mesh, step: usize) -> Mesh {
    for triangle in mesh.triangles.iter_mut().step_by(step) {
        triangle.swap(1, 2);
    }
    mesh
}

fn moved(mut mesh: Mesh, scale: f64, by: Point) -> Mesh {
    for vertex in &mut mesh.vertices {
        *vertex = [0, 1, 2].map(|axis| vertex[axis] * scale + by[axis]);
    }
    mesh
}

fn joined(mut a: Mesh, b: &Mesh) -> Mesh {
    let first = a.vertices.len() as u32;
    a.vertices.extend(&b.vertices);
    a.triangles.extend(b.triangles.iter().map(|t| t.map(|i| i + first)));
    a
}

/// Every triangle with vertices of its own.
fn loose(mesh: &Mesh) -> Mesh {
    let vertices: Vec<Point> = mesh.triangles.iter().flatten().map(|&i| mesh.vertices[i as usize]).collect();
    let triangles = (0..mesh.triangles.len() as u32).map(|i| [3 * i, 3 * i + 1, 3 * i + 2]).collect();
    Mesh { vertices, triangles }
}

fn options(resolution: usize, field: ShapeField) -> ShapeOptions {
    ShapeOptions { resolution, field, ..ShapeOptions::default() }
}

fn shape(info: &SignalInfo) -> &Shape {
    let Media::Shape(shape) = &info.media else { panic!("{:?}", info.media) };
    shape
}

/// Every sample's place.
fn places(info: &SignalInfo) -> Vec<Point> {
    let shape = shape(info);
    let n = info.extents[0];
    let at = |i: usize, axis: usize| shape.origin[axis] + shape.spacing * i as f64;
    (0..n.pow(3)).map(|s| [at(s % n, 0), at(s / n % n, 1), at(s / (n * n), 2)]).collect()
}

fn occupancy(mesh: &Mesh, resolution: usize) -> (SignalInfo, Vec<u8>, ShapeNotes) {
    let (info, samples, notes) = voxelise(mesh, &options(resolution, ShapeField::Occupancy)).unwrap();
    let Samples::U8(values) = samples else { panic!("occupancy is u8") };
    assert_eq!(values.iter().map(|&v| u64::from(v)).sum::<u64>(), notes.n_inside);
    (info, values, notes)
}

fn distances(mesh: &Mesh, resolution: usize) -> (SignalInfo, Vec<f32>, ShapeNotes) {
    let (info, samples, notes) = voxelise(mesh, &options(resolution, ShapeField::Distance)).unwrap();
    let Samples::F32(values) = samples else { panic!("distances are f32") };
    (info, values, notes)
}

#[test]
fn a_cube_is_what_geometry_says() {
    let (info, values, notes) = occupancy(&cube(), 32);
    info.validate().unwrap();
    assert_eq!((info.extents.as_slice(), info.channels, info.sample_type), (&[32; 3][..], 1, SampleType::U8));
    assert_eq!(info.value_range, Some(ValueRange::of(0.0, 1.0)));
    let grid = shape(&info);
    assert!((grid.spacing - 1.1 / 31.0).abs() < 1e-15 && grid.truncation == 0.0 && grid.is_closed);
    assert!(grid.origin.iter().all(|x| (x + 0.05).abs() < 1e-15), "{:?}", grid.origin);
    assert!(notes.is_closed && !notes.was_inverted && notes.edges.is_closed() && notes.remarks().is_empty());
    for (place, value) in places(&info).into_iter().zip(&values) {
        let is_inside = place.iter().all(|&x| x > 0.0 && x < 1.0);
        assert_eq!(*value, u8::from(is_inside), "{place:?}");
    }

    let (info, values, _) = distances(&cube(), 32);
    info.validate().unwrap();
    let t = 4.0 * 1.1 / 31.0;
    assert!((shape(&info).truncation - t).abs() < 1e-7);
    let range = info.value_range.unwrap();
    assert_eq!((range.low(), range.high()), (-shape(&info).truncation, shape(&info).truncation));
    for (place, value) in places(&info).into_iter().zip(&values) {
        let q = place.map(|x| (x - 0.5).abs() - 0.5);
        let outside = q.iter().map(|x| x.max(0.0).powi(2)).sum::<f64>().sqrt();
        let inside = q.into_iter().fold(f64::NEG_INFINITY, f64::max).min(0.0);
        let expected = -(outside + inside).clamp(-t, t);
        assert!((f64::from(*value) - expected).abs() < 1e-7, "{place:?}: {value}, not {expected}");
        assert!((range.low()..=range.high()).contains(&f64::from(*value)));
    }
}

/// Every sample of every kind of mesh, against the sum of all solid angles.
#[test]
fn inside_is_where_the_winding_number_is_half_or_more() {
    let shifted = moved(cube(), 1.0, [0.43, 0.37, 0.61]);
    let hollow = joined(moved(cube(), 3.0, [-1.0; 3]), &flip(cube(), 1));
    let mut no_lid = cube();
    no_lid.triangles.drain(2..4);
    let mut twice = cube();
    twice.triangles.extend_from_within(..);
    let mut one_flipped = cube();
    one_flipped.triangles[5].swap(0, 1);
    let mut two_holes = torus(16, 8);
    two_holes.triangles.drain(140..160);
    two_holes.triangles.drain(20..45);
    // Nearly closed, but no vertex is shared.
    let mut heap = loose(&torus(16, 8));
    for (i, vertex) in heap.vertices.iter_mut().enumerate() {
        vertex[i % 3] += 1e-3 * (i % 7) as f64;
    }
    let cases = [
        ("cube", cube(), true),
        ("two cubes that intersect", joined(cube(), &shifted), true),
        ("a hollow cube", hollow, true),
        ("a cube twice", twice, true),
        ("two cubes with a common edge", joined(cube(), &moved(cube(), 1.0, [1.0, 1.0, 0.0])), true),
        ("a cube without lid", no_lid, false),
        ("a cube with a face turned around", one_flipped, false),
        ("a torus", torus(16, 8), true),
        ("a torus with holes", two_holes, false),
        ("half a torus", cut(torus(16, 8), 0.1), false),
        ("a torus with faces turned around", flip(torus(16, 8), 7), false),
        ("loose triangles", heap, false),
        ("a sheet", Mesh { triangles: cube().triangles[..2].to_vec(), ..cube() }, false),
    ];
    let (mut n_cases, mut n_near) = (0, 0);
    for (name, mesh, is_closed) in &cases {
        let (info, values, notes) = occupancy(mesh, 22);
        assert_eq!(notes.is_closed, *is_closed, "{name}");
        assert_eq!(shape(&info).is_closed, *is_closed, "{name}");
        assert_eq!(notes.remarks().is_empty(), *is_closed, "{name}: {:?}", notes.remarks());
        for (place, value) in places(&info).into_iter().zip(&values) {
            let winding = winding_number(mesh, place);
            if (winding - 0.5).abs() < 1e-9 {
                n_near += 1;
                continue;
            }
            assert_eq!(*value == 1, winding >= 0.5, "{name}: {winding} at {place:?}");
        }
        n_cases += 1;
    }
    assert_eq!((n_cases, n_near), (13, 0));
}

#[test]
fn fronts_that_look_inwards() {
    let (_, expected, _) = occupancy(&torus(24, 12), 20);
    let (_, values, notes) = occupancy(&flip(torus(24, 12), 1), 20);
    assert!(notes.was_inverted && notes.is_closed && notes.n_inverted == 0);
    assert_eq!(values, expected);
    assert!(notes.remarks()[0].contains("inwards"));

    // A small part the wrong way, apart from the rest, is told.
    let mesh = joined(moved(cube(), 4.0, [0.0; 3]), &flip(moved(cube(), 1.0, [5.0, 0.0, 0.0]), 1));
    let (_, _, notes) = occupancy(&mesh, 32);
    assert!(notes.n_inverted > 50 && !notes.was_inverted, "{notes:?}");
    assert!(notes.remarks()[0].contains("count as outside"));

    // An open one is turned around as well.
    let half = cut(torus(24, 12), 0.1);
    let (_, expected, _) = occupancy(&half, 20);
    let (_, values, notes) = occupancy(&flip(half, 1), 20);
    assert!(notes.was_inverted && !notes.is_closed);
    assert_eq!(values, expected);
}

#[test]
fn scale_and_place_do_not_matter() {
    let (_, expected, _) = occupancy(&torus(24, 12), 21);
    let mut n_cases = 0;
    for (scale, by) in [(1e-30, 0.0), (1e30, 0.0), (0.25, 1024.0), (1024.0, -65536.0)] {
        let mesh = moved(torus(24, 12), scale, [by; 3]);
        let (info, values, _) = occupancy(&mesh, 21);
        assert!(values == expected, "{scale} {by}");
        assert!((shape(&info).spacing / (2.8 * 1.1 / 20.0 * scale) - 1.0).abs() < 1e-9);
        n_cases += 1;
    }
    assert_eq!(n_cases, 4);
}

/// Resolutions that no block divides, down to the least; fields agree on the sign.
#[test]
fn every_resolution() {
    let mut n_cases = 0;
    for resolution in [2, 3, 7, 8, 9, 17, 25] {
        for mesh in [torus(16, 8), cut(torus(16, 8), 0.1)] {
            let (info, inside, notes) = occupancy(&mesh, resolution);
            let (_, distance, again) = distances(&mesh, resolution);
            assert_eq!(notes, again);
            assert!(inside.iter().zip(&distance).all(|(&i, &d)| d == 0.0 || (i == 1) == (d > 0.0)));
            for (place, value) in places(&info).into_iter().zip(inside) {
                assert_eq!(value == 1, winding_number(&mesh, place) >= 0.5);
            }
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 14);
}

#[test]
fn what_is_no_shape_is_refused() {
    let refused = |mesh: &Mesh, options: &ShapeOptions, words: &str| {
        let error = voxelise(mesh, options).unwrap_err();
        assert!(matches!(error, MediaError::Shape { .. }) && error.is_bad_input());
        assert!(error.to_string().contains(words), "{words:?} is not in {error}");
    };
    let fine = ShapeOptions::default();
    let with = |i: usize, vertex: Point| {
        let mut mesh = cube();
        mesh.vertices[i] = vertex;
        mesh
    };
    refused(&Mesh::default(), &fine, "no faces");
    refused(&with(3, [0.0, f64::NAN, 0.0]), &fine, "vertex 3");
    refused(&with(3, [0.0, f64::INFINITY, 0.0]), &fine, "vertex 3");
    refused(&with(0, [-1e308, 1e308, 0.0]), &fine, "cannot be divided");
    refused(&moved(cube(), 1e-9, [1e6; 3]), &fine, "move it to the origin");
    refused(&moved(cube(), 1e-200, [0.0; 3]), &fine, "cannot be divided");
    refused(&moved(cube(), 0.0, [1.0; 3]), &fine, "one point");
    refused(&Mesh { triangles: vec![[0, 1, 8]], ..cube() }, &fine, "8 vertices");
    refused(&cube(), &ShapeOptions { resolution: 1, ..fine }, "it is 2 to 1024");
    refused(&cube(), &ShapeOptions { resolution: 1025, ..fine }, "it is 2 to 1024");
    for truncation_voxels in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let options = ShapeOptions { truncation_voxels, ..options(8, ShapeField::Distance) };
        refused(&cube(), &options, "above 0 and at most 10000");
    }
    refused(&moved(cube(), 1e-60, [0.0; 3]), &options(8, ShapeField::Distance), "32-bit floats");
}

#[test]
fn independent_programs_agree() {
    let expected = include_str!("mesh_expected.tsv");
    let data = std::env::var_os("ASMR_DATA");
    let (mut n_made, mut n_read) = (0, 0);
    for line in expected.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split('\t').collect();
        let name = fields[0];
        let number = |i: usize| fields[i].parse::<f64>().unwrap();
        let mesh = match name {
            "torus" => torus(40, 20),
            "cut-torus" => cut(torus(40, 20), 0.1),
            "patched-torus" => flip(torus(40, 20), 7),
            "cut-patched-torus" => flip(cut(torus(40, 20), -0.3), 5),
            file => {
                let Some(data) = &data else {
                    println!("SKIPPED: {file}, because ASMR_DATA is not set");
                    continue;
                };
                n_read += 1;
                read_mesh(&Path::new(data).join(file), &Limits::default()).unwrap()
            }
        };
        n_made += 1;
        let edges = mesh.edges();
        assert_eq!(mesh.triangles.len().to_string(), fields[1], "{name}");
        assert_eq!(edges.is_closed(), fields[2] == "closed", "{name}");
        assert_eq!(edges.n_boundary.to_string(), fields[3], "{name}");
        assert!((mesh.area() / number(4) - 1.0).abs() < 1e-12, "{name}");
        if fields[5] != "none" {
            assert!((mesh.volume() / number(5) - 1.0).abs() < 1e-12, "{name}: {}", mesh.volume());
        }

        let (info, inside, _) = occupancy(&mesh, 16);
        let (_, distance, _) = distances(&mesh, 16);
        let bits: Vec<u8> =
            (0..fields[6].len()).map(|i| u8::from_str_radix(&fields[6][i..=i], 16).unwrap()).collect();
        for (i, &value) in inside.iter().enumerate() {
            assert_eq!(value, bits[i / 4] >> (3 - i % 4) & 1, "{name}: sample {i}");
        }
        let spacing = shape(&info).spacing;
        let mean = distance.iter().map(|d| f64::from(d.abs())).sum::<f64>() / 4096.0;
        assert!((mean - number(7)).abs() < 1e-6 * spacing, "{name}: {mean}, not {}", number(7));
        let some: Vec<f64> = fields[8].split(' ').map(|d| d.parse().unwrap()).collect();
        assert_eq!(some.len(), 11);
        for (found, expected) in distance.iter().step_by(400).zip(some) {
            assert!(
                (f64::from(found.abs()) - expected).abs() < 1e-6 * spacing,
                "{name}: {found}, not {expected}"
            );
        }
    }
    assert_eq!((n_made, n_read), if data.is_some() { (8, 4) } else { (4, 0) });
}

#[test]
fn slices_are_the_grid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("torus.ply");
    write_mesh(&path, &torus(24, 12)).unwrap();
    let options = options(19, ShapeField::Distance);
    let (info, samples, notes) = voxelise(&torus(24, 12), &options).unwrap();
    let mut reader = ShapeReader::open(&path, &options, &Limits::default()).unwrap();
    assert_eq!((reader.info(), reader.notes(), reader.mesh()), (&info, &notes, &torus(24, 12)));
    let (a, b) = (reader.read(7).unwrap(), reader.read(12).unwrap());
    let (Samples::F32(a), Samples::F32(b), Samples::F32(all)) = (a, b, samples) else { panic!("f32") };
    assert_eq!([a, b].concat(), all);
    let error = ShapeReader::open(&path, &ShapeOptions { resolution: 0, ..options }, &Limits::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("torus.ply") && error.contains("resolution is 0"), "{error}");
}

/// A grid of `extents` (z, y, x) of one value each.
fn grid(extents: [usize; 3]) -> SignalInfo {
    SignalInfo::plain(extents.to_vec(), 1, SampleType::F32, None)
}

/// Closed, and every vertex has one ring of triangles around it. Returns the Euler characteristic.
fn assert_manifold(mesh: &Mesh, case: &str) -> i64 {
    let edges = mesh.edges();
    assert!(mesh.triangles.is_empty() || edges.is_closed(), "{case}: {edges:?}");
    let mut around: HashMap<u32, HashMap<u32, u32>> = HashMap::new();
    for &[a, b, c] in &mesh.triangles {
        for [a, b, c] in [[a, b, c], [b, c, a], [c, a, b]] {
            assert!(around.entry(a).or_default().insert(b, c).is_none(), "{case}");
        }
    }
    assert_eq!(around.len(), mesh.vertices.len(), "{case}: vertices without triangles");
    for next in around.values() {
        let start = *next.keys().next().unwrap();
        let (mut at, mut n) = (next[&start], 1);
        while at != start {
            at = next[&at];
            n += 1;
        }
        assert_eq!(n, next.len(), "{case}: two surfaces meet in a vertex");
    }
    mesh.vertices.len() as i64 - edges.n_edges as i64 + mesh.triangles.len() as i64
}

#[test]
fn surfaces_are_closed_manifolds() {
    // Every pair of neighbouring cells, within a border of outside.
    let mut n_cases = 0;
    for (extents, n) in [([2, 2, 2], 8), ([2, 2, 3], 12), ([2, 3, 2], 12), ([3, 2, 2], 12)] {
        for inside in 0u32..1 << n {
            let values: Vec<f32> = (0..n).map(|i| (inside >> i & 1) as f32).collect();
            let mesh = surface(&grid(extents), &values, 0.5).unwrap();
            assert_manifold(&mesh, &format!("{extents:?} {inside:b}"));
            assert_eq!(mesh.triangles.is_empty(), inside == 0);
            assert!(inside == 0 || mesh.volume() > 0.0, "{extents:?} {inside:b} looks inwards");
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 256 + 3 * 4096);

    // Noise of many kinds, values at the level and values that are no numbers among it.
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 16_777_216.0
    };
    for special in [0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 0.0] {
        for threshold in [0.1, 0.5, 0.8] {
            let n = 14 * 13 * 12;
            let values: Vec<f32> =
                (0..n).map(|_| if noise() < 0.1 { special } else { noise() - threshold + 0.5 }).collect();
            let mesh = surface(&grid([14, 13, 12]), &values, 0.5).unwrap();
            assert_manifold(&mesh, &format!("noise {special} {threshold}"));
            assert!(mesh.vertices.iter().flatten().all(|x| x.is_finite()));
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 256 + 3 * 4096 + 18);
}

/// Samples a function of the place on a cubic grid from -1.5 to 1.5.
fn sampled(n: usize, field: impl Fn(Point) -> f64) -> (SignalInfo, Vec<f32>) {
    let mut info = grid([n; 3]);
    let spacing = 3.0 / (n - 1) as f64;
    info.media = Media::Shape(Shape {
        field: ShapeField::Distance,
        origin: [-1.5; 3],
        spacing,
        truncation: 10.0,
        is_closed: true,
    });
    info.value_range = Some(ValueRange::of(-10.0, 10.0));
    let values = places(&info).into_iter().map(|p| field(p) as f32).collect();
    (info, values)
}

#[test]
fn a_sphere_and_a_torus_come_back() {
    let sphere = |[x, y, z]: Point| 1.0 - (x * x + y * y + z * z).sqrt();
    let ring = |[x, y, z]: Point| 0.4 - ((x * x + y * y).sqrt() - 1.0).hypot(z);
    let mut errors = Vec::new();
    for n in [33, 65] {
        let (info, values) = sampled(n, sphere);
        let mesh = surface(&info, &values, 0.0).unwrap();
        assert_eq!(assert_manifold(&mesh, "sphere"), 2);
        assert!(mesh.vertices.iter().all(|&p| sphere(p).abs() < 0.002), "a vertex is off the sphere");
        errors.push((1.0 - mesh.volume() / (4.0 / 3.0 * PI), 1.0 - mesh.area() / (4.0 * PI)));
        // The same on the network's scale, where distances from -10 to 10 are 0 to 1.
        let mut scaled = vec![0.0; values.len()];
        info.scaled(&Samples::F32(values), 0, &mut scaled);
        let again = surface(&info, &scaled, SURFACE_LEVEL).unwrap();
        assert_eq!(again.triangles, mesh.triangles);
        assert!(
            again
                .vertices
                .iter()
                .flatten()
                .zip(mesh.vertices.iter().flatten())
                .all(|(a, b)| (a - b).abs() < 1e-4)
        );

        let (info, values) = sampled(n, ring);
        let mesh = surface(&info, &values, 0.0).unwrap();
        assert_eq!(assert_manifold(&mesh, "torus"), 0);
        assert!((mesh.volume() / (2.0 * PI * PI * 0.16) - 1.0).abs() < 0.03, "{}", mesh.volume());
        assert!((mesh.area() / (4.0 * PI * PI * 0.4) - 1.0).abs() < 0.03, "{}", mesh.area());
    }
    // Of second order: half the spacing, a quarter of the error.
    let [(volume, area), (finer_volume, finer_area)] = errors[..] else { panic!() };
    assert!(volume > 0.0 && volume < 0.01 && area > 0.0 && area < 0.01, "{errors:?}");
    assert!((3.0..5.0).contains(&(volume / finer_volume)), "{errors:?}");
    assert!((3.0..5.0).contains(&(area / finer_area)), "{errors:?}");
}

#[test]
fn planes_are_exact_and_borders_close() {
    // Linear interpolation is exact where the field is linear; the second plane goes through samples, which vertices keep
    // 0.0001 spacings of 0.2 from.
    for (offset, bound) in [(0.31, 1e-6), (0.3, 2.1e-5)] {
        let height = |[x, y, z]: Point| offset - (0.6 * x + 0.64 * y - 0.48 * z);
        let (info, values) = sampled(16, height);
        let mesh = surface(&info, &values, 0.0).unwrap();
        assert_manifold(&mesh, "plane");
        let within = mesh.vertices.iter().filter(|p| p.iter().all(|x| x.abs() < 1.5));
        let (n, off) = within.fold((0, 0.0), |(n, off), &p| (n + 1, f64::max(off, height(p).abs())));
        assert!(n > 100 && off < bound, "{offset}: {off} of {n} vertices");
    }

    let mesh = surface(&grid([2, 3, 4]), &[1.0; 24], 0.5).unwrap();
    assert_eq!(assert_manifold(&mesh, "a full grid"), 2);
    assert_eq!(mesh.bounds(), Some(([-0.5; 3], [3.5, 2.5, 1.5])));
    assert_eq!(surface(&grid([2, 3, 4]), &[0.0; 24], 0.5).unwrap(), Mesh::default());

    for (info, n) in [(grid([2, 3, 4]), 23), (SignalInfo::plain(vec![4, 6], 1, SampleType::F32, None), 24)] {
        let error = surface(&info, &vec![0.0; n], 0.5).unwrap_err();
        assert!(matches!(error, MediaError::Shape { .. }), "{error}");
    }
}

/// What a shape loses by being a grid: less than half a spacing with occupancy, far less with distances.
#[test]
fn there_and_back() {
    let mesh = torus(60, 30);
    let (info, values, _) = occupancy(&mesh, 40);
    let spacing = shape(&info).spacing;
    let floats: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
    let from_occupancy = surface(&info, &floats, 0.5).unwrap();
    assert_eq!(assert_manifold(&from_occupancy, "occupancy"), 0);
    let (info, values, _) = distances(&mesh, 40);
    let from_distances = surface(&info, &values, 0.0).unwrap();
    assert_eq!(assert_manifold(&from_distances, "distances"), 0);
    let coarse = compare_meshes(&mesh, &from_occupancy, 20_000, 1).unwrap();
    let fine = compare_meshes(&mesh, &from_distances, 20_000, 1).unwrap();
    assert!(coarse.chamfer < 0.5 * spacing && fine.chamfer < 0.05 * spacing, "{coarse:?} {fine:?}");
    assert!(fine.normal_consistency > 0.98 && coarse.normal_consistency > 0.8, "{coarse:?} {fine:?}");
}

#[test]
fn scores_are_those_of_geometry() {
    let square = |x: f64, z: f64| {
        moved(Mesh { triangles: cube().triangles[..2].to_vec(), ..cube() }, 1.0, [x, 0.0, z])
    };
    let compare = |a: &Mesh, b: &Mesh| compare_meshes(a, b, 20_000, 7).unwrap();

    // Parallel squares: every distance is the height.
    let scores = compare(&square(0.0, 0.0), &square(0.0, 0.25));
    assert!(
        (scores.chamfer - 0.25).abs() < 1e-12 && (scores.normal_consistency - 1.0).abs() < 1e-12,
        "{scores:?}"
    );
    assert!((scores.relative_chamfer - 0.25 / 2f64.sqrt()).abs() < 1e-12);
    // One turned around: the sign of normals does not count.
    let scores = compare(&square(0.0, 0.0), &flip(square(0.0, 0.25), 1));
    assert!((scores.normal_consistency - 1.0).abs() < 1e-12);
    // Neighbours in one plane: the distance is 1 - x, with mean 1/2 and a standard error of 1/sqrt(12 n) = 0.002.
    let scores = compare(&square(0.0, 0.0), &square(1.0, 0.0));
    assert!((scores.to_decoded - 0.5).abs() < 0.01 && (scores.to_original - 0.5).abs() < 0.01, "{scores:?}");
    // A part of the other: near one way, far the other. Half of the points have distance 0, half up to 1.
    let both = joined(square(0.0, 0.0), &square(1.0, 0.0));
    let scores = compare(&square(0.0, 0.0), &both);
    assert!(scores.to_decoded < 1e-12 && (scores.to_original - 0.25).abs() < 0.01, "{scores:?}");
    assert!((scores.chamfer - scores.to_original / 2.0).abs() < 1e-12);
    // At right angles.
    let upright = Mesh { triangles: cube().triangles[4..6].to_vec(), ..cube() };
    assert!(compare(&square(0.0, 0.0), &upright).normal_consistency < 1e-12);
    // Concentric spheres: the difference of the radii, but for the facets.
    let sphere = |radius: f64| {
        let (info, values) = sampled(65, |[x, y, z]| radius - (x * x + y * y + z * z).sqrt());
        surface(&info, &values, 0.0).unwrap()
    };
    let scores = compare(&sphere(1.0), &sphere(1.2));
    assert!((scores.chamfer - 0.2).abs() < 2e-3 && scores.normal_consistency > 0.99, "{scores:?}");
    // A surface and itself, scaled to where squares would overflow or vanish.
    for scale in [1.0, 1e-160, 1e160] {
        let mesh = moved(torus(24, 12), scale, [0.0; 3]);
        let scores = compare(&mesh, &mesh);
        assert!(scores.relative_chamfer < 1e-7 && scores.normal_consistency > 0.9999, "{scores:?}");
    }
    // A seed decides.
    let (a, b) = (torus(24, 12), moved(torus(20, 10), 1.0, [0.05; 3]));
    assert_eq!(compare_meshes(&a, &b, 5000, 3).unwrap(), compare_meshes(&a, &b, 5000, 3).unwrap());
    assert_ne!(compare_meshes(&a, &b, 5000, 3).unwrap(), compare_meshes(&a, &b, 5000, 4).unwrap());

    for (a, b, words) in [
        (Mesh::default(), cube(), "the original surface: it has no faces"),
        (cube(), Mesh::default(), "the decoded surface: it has no faces"),
        (cube(), moved(cube(), 0.0, [0.0; 3]), "the decoded surface has no area"),
        (moved(cube(), 0.0, [0.0; 3]), cube(), "the original surface has no area"),
    ] {
        let error = compare_meshes(&a, &b, 10, 0).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(compare_meshes(&a, &b, 0, 0).is_err());
}

#[test]
fn intersection_over_union() {
    let signal = |mesh: &Mesh, field| {
        let (info, samples, _) = voxelise(mesh, &options(24, field)).unwrap();
        Signal::new(info, samples).unwrap()
    };
    let (a, b) = (signal(&cube(), ShapeField::Occupancy), signal(&cube(), ShapeField::Distance));
    assert_eq!(iou(&a, &a).unwrap(), Some(1.0));
    assert_eq!(iou(&b, &b).unwrap(), Some(1.0));
    assert!(iou(&a, &b).is_err());
    // Eight samples by hand: two in both, five in either.
    let info = SignalInfo { extents: vec![2; 3], ..a.info().clone() };
    let by_hand = |values: [u8; 8]| Samples::U8(values.to_vec());
    let counts = overlap(&info, &by_hand([1, 1, 1, 0, 0, 0, 0, 0]), &by_hand([0, 1, 1, 1, 1, 0, 0, 0]));
    assert_eq!((counts.n_both, counts.n_either, counts.iou()), (2, 5, Some(0.4)));
    let info = SignalInfo { extents: vec![2; 3], ..b.info().clone() };
    let by_hand = |values: [f32; 8]| Samples::F32(values.map(|v| v * 0.01).to_vec());
    let mut sum = overlap(
        &info,
        &by_hand([1.0, 2.0, -1.0, 0.0, -1.0, -1.0, 1.0, -2.0]),
        &by_hand([2.0, -1.0, 2.0, 1.0, -1.0, -3.0, 1.0, -1.0]),
    );
    assert_eq!((sum.n_both, sum.n_either), (3, 5));
    let nothing = by_hand([-1.0; 8]);
    assert_eq!(overlap(&info, &nothing, &nothing).iou(), None);
    sum += sum;
    assert_eq!(sum.iou(), Some(0.6));
}
