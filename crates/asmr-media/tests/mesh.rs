//! Mesh files: every format there and back, by their definitions, damaged, and hostile.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use asmr_media::{EdgeCounts, Limits, MediaError, Mesh, MeshFormat, is_mesh, read_mesh, write_mesh};

/// A tetrahedron with coordinates that 32 bits hold.
fn tetrahedron() -> Mesh {
    Mesh {
        vertices: vec![[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [0.0, 2.5, 0.0], [0.0, 0.0, -3.25]],
        triangles: vec![[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]],
    }
}

fn read(folder: &Path, name: &str, bytes: &[u8]) -> Result<Mesh, MediaError> {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    let is_known = is_mesh(&path);
    let result = read_mesh(&path, &Limits::default());
    assert!(is_known || result.is_err(), "{name} is read but not recognised");
    fs::remove_file(&path).unwrap();
    result
}

#[test]
fn every_format_there_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut fine = tetrahedron();
    fine.vertices[1][0] = 0.1;
    fine.vertices[3][2] = -1.234_567_890_123_456_7e-7;
    let mut n_cases = 0;
    for (name, is_exact) in [("a.ply", true), ("a.OBJ", true), ("a.stl", false)] {
        let path = folder.path().join(name);
        write_mesh(&path, &fine).unwrap();
        assert!(is_mesh(&path));
        // The content tells the format.
        let other = folder.path().join("b.dat");
        fs::rename(&path, &other).unwrap();
        assert!(is_mesh(&other), "{name}");
        let mesh = read_mesh(&other, &Limits::default()).unwrap();
        if is_exact {
            assert_eq!(mesh, fine, "{name}");
        } else {
            let rounded = |mesh: &Mesh| mesh.vertices.iter().map(|v| v.map(|x| x as f32)).collect::<Vec<_>>();
            assert_eq!((rounded(&mesh), &mesh.triangles), (rounded(&fine), &fine.triangles), "{name}");
        }
        write_mesh(&other.with_extension("stl"), &tetrahedron()).unwrap();
        assert_eq!(read_mesh(&other.with_extension("stl"), &Limits::default()).unwrap(), tetrahedron());
        n_cases += 1;
    }
    assert_eq!(n_cases, 3);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn what_cannot_be_written_leaves_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.stl");
    fs::write(&path, "before").unwrap();
    let mut far = tetrahedron();
    far.vertices[2][1] = 1e39;
    let mut nan = tetrahedron();
    nan.vertices[2][1] = f64::NAN;
    let outside = Mesh { triangles: vec![[0, 1, 4]], ..tetrahedron() };
    for (mesh, words) in [
        (far, "write it as .ply or .obj"),
        (nan, "vertex 2"),
        (outside, "4 vertices only"),
        (Mesh::default(), "no faces"),
    ] {
        let error = write_mesh(&path, &mesh).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"before");
    }
    for name in ["a.png", "a", ".ply"] {
        let error = write_mesh(&folder.path().join(name), &tetrahedron()).unwrap_err();
        assert!(error.to_string().contains(".ply, .obj and .stl"), "{error}");
        assert!(MeshFormat::of_extension(Path::new(name)).is_err());
    }
    assert!(write_mesh(Path::new("/no-such-folder/a.ply"), &tetrahedron()).unwrap_err().is_write_failure());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A PLY header of four vertices and four faces.
fn ply_header(encoding: &str, scalar: &str, list: &str) -> String {
    format!(
        "ply\nformat {encoding} 1.0\ncomment made by hand\nobj_info nothing\nelement vertex 4\nproperty {scalar} x\n\
         property {scalar} y\nproperty uchar red\nproperty {scalar} z\nelement edge 1\nproperty int vertex1\n\
         element face 4\nproperty float quality\nproperty list {list} vertex_indices\nend_header\n"
    )
}

#[test]
fn ply_of_every_encoding() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = tetrahedron();
    let mut text = ply_header("ascii", "float", "uchar int");
    for [x, y, z] in &mesh.vertices {
        writeln!(text, "{x} {y} 255 {z}").unwrap();
    }
    text.push_str("7\n");
    for [a, b, c] in &mesh.triangles {
        writeln!(text, "0.5 3 {a} {b} {c}").unwrap();
    }
    assert_eq!(read(folder.path(), "a", text.as_bytes()).unwrap(), mesh);
    assert_eq!(read(folder.path(), "a", text.replace('\n', "\r\n").as_bytes()).unwrap(), mesh);

    let mut n_cases = 0;
    for is_little in [true, false] {
        for is_double in [true, false] {
            let encoding = if is_little { "binary_little_endian" } else { "binary_big_endian" };
            let (scalar, list) =
                if is_double { ("double", "uint8 uint32") } else { ("float32", "ushort short") };
            let mut bytes = ply_header(encoding, scalar, list).into_bytes();
            let mut put = |value: &[u8]| {
                // Little-endian as given.
                let ordered: Vec<u8> =
                    if is_little { value.to_vec() } else { value.iter().rev().copied().collect() };
                bytes.extend(ordered);
            };
            let scalar =
                |x: f64| if is_double { x.to_le_bytes().to_vec() } else { (x as f32).to_le_bytes().to_vec() };
            for &[x, y, z] in &mesh.vertices {
                put(&scalar(x));
                put(&scalar(y));
                put(&[200]);
                put(&scalar(z));
            }
            put(&7i32.to_le_bytes());
            for triangle in &mesh.triangles {
                put(&0.5f32.to_le_bytes());
                if is_double {
                    put(&[3]);
                } else {
                    put(&3u16.to_le_bytes());
                }
                for &corner in triangle {
                    if is_double { put(&corner.to_le_bytes()) } else { put(&(corner as i16).to_le_bytes()) }
                }
            }
            assert_eq!(read(folder.path(), "a", &bytes).unwrap(), mesh, "{encoding}");
            // Cut anywhere, it is damaged.
            for length in (8..bytes.len()).step_by(7) {
                let error = read(folder.path(), "a", &bytes[..length]).unwrap_err();
                assert!(matches!(error, MediaError::Damaged { .. }), "{length}: {error}");
            }
            n_cases += 1;
        }
    }
    assert_eq!(n_cases, 4);
}

#[test]
fn obj_of_many_kinds() {
    let folder = tempfile::tempdir().unwrap();
    let vertices = "v 0 0 0\nv 1.5 0 0\nv 0 2.5 0\nv 0 0 -3.25\n";
    let files = [
        format!("{vertices}f 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n"),
        format!("# words\r\n\r\n{}f 1 2 3\r\nf 1 3 4\r\nf 1 4 2\r\nf 2 4 3", vertices.replace('\n', "\r\n")),
        format!("{vertices}f -4 -3 -2\nf -4 -2 -1\nf -4 -1 -3\nf -3 -1 -2\n"),
        format!("mtllib none.mtl\n{vertices}vt 0 0\nvn 0 0 1\nusemtl a\nf 1/1/1 2/1/1 3/1/1\nf 1//1 3//1 4//1\ns 1\nf 1/1 4/1 2/1\nf 2 4 3\n"),
        // Groups are parts of one surface.
        format!("o one\n{vertices}g a\nf 1 2 3\ng b\nf 1 3 4\no two\nusemtl x\nf 1 4 2\ng c\nf 2 4 3\n"),
        // Colours, weights, points and lines are of no interest; neither are vertices of no face.
        "v 0 0 0 1 0 0\nv 1.5 0 0 1 0 0\nv 0 2.5 0 1 0 0\nv 0 0 -3.25 1 0 0\nv 9 9 9 1 0 0\np 5\nl 1 5\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 4 3\n".to_owned(),
        // Lines of many corners are no faces; colours of some vertices, weights, comments within lines, lines that go on.
        "v 0 0 0 # corner\nv 1.5 0 0 0.5\nv 0 2.5 0 1 0 0\nv 0 0 \\\n-3.25\nv 9 9 9\nl 5 1 2\nl 1 2 3 5 4\nf 1 2 \\\r\n3\nf 1 3 4#\nf 1 4 2\nf 2 4 3\n".to_owned(),
        // Seams: vertices at one place are one.
        format!("{vertices}{vertices}f 1 6 3\nf 5 7 4\nf 1 8 2\nf 6 4 7\nf 1 5 2\n"),
    ];
    for (i, file) in files.iter().enumerate() {
        let mesh = read(folder.path(), "a", file.as_bytes()).unwrap();
        assert_eq!(mesh, tetrahedron(), "file {i}");
        assert!(mesh.edges().is_closed());
    }
    // A name in an old encoding.
    let latin = [b"o K\xf6rper\n", files[0].as_bytes()].concat();
    assert_eq!(read(folder.path(), "a.obj", &latin).unwrap(), tetrahedron());
    let polygons = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv -1 0.5 0\nf 1 2 3 4\nf 1 2 3 4 5\n";
    let mesh = read(folder.path(), "a", polygons.as_bytes()).unwrap();
    assert_eq!(mesh.triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 2, 3], [0, 3, 4]]);
}

#[test]
fn stl_text_as_programs_write_it() {
    let folder = tempfile::tempdir().unwrap();
    let mesh = tetrahedron();
    let facet = |t: &[u32; 3], normal: &str| {
        let mut text = format!("  facet normal {normal}\n    outer loop\n");
        for &i in t {
            let [x, y, z] = mesh.vertices[i as usize];
            writeln!(text, "      vertex {x:e} {y:e} {z:e}").unwrap();
        }
        text + "    endloop\n  endfacet\n"
    };
    let facets: Vec<String> = mesh.triangles.iter().map(|t| facet(t, "0 0 1")).collect();
    let odd: Vec<String> = mesh.triangles.iter().map(|t| facet(t, "-nan nan nan")).collect();
    let files = [
        format!("solid a name\n{}endsolid a name\n", facets.concat()),
        format!("solid\n{}endsolid", odd.concat()),
        format!("SOLID X\r\n{}ENDSOLID X\r\n", facets.concat().to_uppercase().replace('\n', "\r\n")),
        // Several solids are one surface.
        format!(
            "solid a\n{}endsolid a\n\nsolid b\n{}endsolid b\n",
            facets[..2].concat(),
            facets[2..].concat()
        ),
    ];
    for (i, file) in files.iter().enumerate() {
        assert_eq!(read(folder.path(), "a", file.as_bytes()).unwrap(), mesh, "file {i}");
        assert_eq!(read(folder.path(), "a.stl", file.as_bytes()).unwrap(), mesh, "file {i}");
    }
    // Binary, with the word that text begins with.
    let path = folder.path().join("b.stl");
    write_mesh(&path, &mesh).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 84 + 4 * 50);
    bytes[..12].copy_from_slice(b"solid binary");
    assert_eq!(read(folder.path(), "a", &bytes).unwrap(), mesh);

    for (file, words) in [
        (files[0].replace("endsolid a name", ""), "ends before"),
        (files[0].replacen("vertex", "", 1), "line 4"),
        (files[0].replacen("vertex", "vortex", 1), "line 4"),
        (files[0].replacen("    endloop\n", "", 1), "three vertices"),
        (files[0].replacen("endloop", "vertex 1 2 3\nendloop", 1), "three vertices"),
    ] {
        let error = read(folder.path(), "a.stl", file.as_bytes()).unwrap_err();
        assert!(matches!(error, MediaError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(words), "{words:?} is not in {error}");
    }
}

/// Each is one sentence, and quick.
#[test]
fn hostile_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let ply = |elements: &str, body: &str| {
        format!("ply\nformat ascii 1.0\n{elements}end_header\n{body}").into_bytes()
    };
    let binary = |elements: &str, body: &[u8]| {
        [format!("ply\nformat binary_little_endian 1.0\n{elements}end_header\n").as_bytes(), body].concat()
    };
    let xyz = "property float x\nproperty float y\nproperty float z\n";
    let faces = "property list uchar int vertex_indices\n";
    let stl = |count: u32, body: &[u8]| [&[0; 80], &count.to_le_bytes()[..], body].concat();
    let triangle = |x: f32| {
        let numbers: Vec<u8> = [0.0, 0.0, 0.0, x, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0f32]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        [numbers, vec![0; 2]].concat()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty.obj", vec![], "no faces"),
        ("empty.ply", vec![], "damaged"),
        ("empty.stl", vec![], "damaged"),
        ("empty", vec![], "no mesh"),
        ("noise.obj", (0..5000u32).map(|i| ((i * 7919) >> 3) as u8).collect(), "damaged"),
        ("noise.stl", (0..5000u32).map(|i| ((i * 7919) >> 3) as u8).collect(), "its header tells of"),
        ("noise", (0..5000u32).map(|i| ((i * 7919) >> 3) as u8).collect(), "no mesh"),
        ("points", b"v 1 2 3\nv 4 5 6\n".to_vec(), "no faces"),
        ("nan", b"v nan 2 3\nv 4 5 6\nv 7 8 9\nf 1 2 3\n".to_vec(), "vertex 0"),
        ("infinite", b"v 1 2 3\nv 4 1e999 6\nv 7 8 9\nf 1 2 3\n".to_vec(), "vertex 1"),
        ("beyond", b"v 1 2 3\nv 4 5 6\nv 7 8 9\nf 1 2 4\n".to_vec(), "out of bounds"),
        ("zero", b"v 1 2 3\nv 4 5 6\nv 7 8 9\nf 0 1 2\n".to_vec(), "out of bounds"),
        ("before", b"v 1 2 3\nv 4 5 6\nv 7 8 9\nf -4 -1 -2\n".to_vec(), "out of bounds"),
        ("huge", b"v 1 2 3\nf 1 1 9223372036854775807\n".to_vec(), "out of bounds"),
        ("least", b"v 1 2 3\nf 1 1 -9223372036854775808\n".to_vec(), "out of bounds"),
        ("larger", b"v 1 2 3\nf 1 1 99999999999999999999\n".to_vec(), "damaged"),
        ("words.obj", b"v one two three\n".to_vec(), "damaged"),
        ("short", b"v 1 2\n".to_vec(), "damaged"),
        ("bare", b"v 1 2 3\nf\n".to_vec(), "damaged"),
        ("point", b"v 1 2 3\nv 1 2 3\nv 1 2 3\nf 1 2 3\n".to_vec(), "a corner twice"),
        ("ply", b"ply\n".to_vec(), "damaged"),
        ("ply", b"ply\nformat ascii 1.0\nend_header\n".to_vec(), "no faces"),
        ("ply", b"ply\nformat ascii 99999999999999999999.0\nend_header\n".to_vec(), "damaged"),
        (
            "ply",
            ply(&format!("element vertex 18446744073709551615\n{xyz}"), "1 2 3\n"),
            "are left of the file",
        ),
        ("ply", ply(&format!("element vertex 99999999999999999999\n{xyz}"), "1 2 3\n"), "damaged"),
        ("ply", ply("element nothing 999999999999\n", ""), "are left of the file"),
        ("ply", binary(&format!("element vertex 4294967295\n{xyz}"), &[0; 99]), "are left of the file"),
        ("ply", binary(&format!("element vertex 90\n{xyz}"), &[0; 99]), "damaged"),
        ("ply", binary("element face 1\nproperty list uint int vertex_indices\n", &[255; 99]), "damaged"),
        ("ply", binary("element face 1\nproperty list int int vertex_indices\n", &[255; 99]), "damaged"),
        ("ply", binary("element face 1\nproperty list float int vertex_indices\n", &[255; 99]), "damaged"),
        (
            "ply",
            ply(&format!("element vertex 1\n{xyz}element face 1\n{faces}"), "1 2 3\n3 0 0 1\n"),
            "1 vertices only",
        ),
        (
            "ply",
            ply(&format!("element vertex 1\n{xyz}element face 1\n{faces}"), "1 2 3\n3 0 0 -1\n"),
            "damaged",
        ),
        ("ply", ply(&format!("element vertex 1\n{xyz}element face 1\n{faces}"), "1 2 3\n3 0 0\n"), "damaged"),
        ("ply", ply(&format!("element vertex 1\n{xyz}element face 1\n{faces}"), "1 2 3\n0\n"), "no faces"),
        ("ply", ply(&format!("element vertex 1\n{xyz}"), "1 2 3\n"), "no faces"),
        (
            "ply",
            ply(&format!("element vertex 1\nproperty float x\nelement face 1\n{faces}"), "1\n3 0 0 0\n"),
            "lack x, y or z",
        ),
        (
            "ply",
            ply(
                &format!("element vertex 1\nproperty list uchar float x\nelement face 1\n{faces}"),
                "1 2\n3 0 0 0\n",
            ),
            "damaged",
        ),
        ("ply", ply(&format!("{xyz}element vertex 1\n"), "1 2 3\n"), "damaged"),
        ("count.stl", stl(u32::MAX, &triangle(1.0)), "its header tells of 4294967295"),
        ("count.stl", stl(2, &triangle(1.0)), "its header tells of 2"),
        ("none.stl", stl(0, &[]), "no faces"),
        ("nan", stl(1, &triangle(f32::NAN)), "vertex 0"),
        ("picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(), "no mesh"),
        ("letter", b"Dear v,\nv is a letter.\n".to_vec(), "no mesh"),
    ];
    let n_cases = cases.len();
    let mut n_refused = 0;
    for (name, bytes, words) in cases {
        let error = read(folder.path(), name, &bytes).unwrap_err();
        assert!(error.is_bad_input());
        let text = error.to_string();
        assert!(text.contains(words) && text.contains(name), "{words:?} is not in {text:?}");
        assert!(text.len() < 600 && !text.contains('\n'), "{text:?}");
        n_refused += 1;
    }
    assert_eq!(n_refused, n_cases);

    let missing = folder.path().join("missing.obj");
    assert!(matches!(read_mesh(&missing, &Limits::default()), Err(MediaError::Read { .. })));
    assert!(matches!(read_mesh(folder.path(), &Limits::default()), Err(MediaError::Read { .. })));
    assert!(!is_mesh(&missing) && !is_mesh(folder.path()));
    let path = folder.path().join("a.ply");
    write_mesh(&path, &tetrahedron()).unwrap();
    let small = Limits { max_alloc_bytes: 100, ..Limits::default() };
    assert!(read_mesh(&path, &small).unwrap_err().to_string().contains("more than 100 bytes"));
}

#[test]
fn edges_are_counted() {
    let closed = tetrahedron();
    assert_eq!(closed.edges(), EdgeCounts { n_edges: 6, ..EdgeCounts::default() });
    assert!(closed.edges().is_closed());
    assert!((closed.volume() - 1.5 * 2.5 * 3.25 / 6.0).abs() < 1e-12, "{}", closed.volume());
    let mut open = closed.clone();
    open.triangles.pop();
    assert_eq!(open.edges(), EdgeCounts { n_edges: 6, n_boundary: 3, ..EdgeCounts::default() });
    let mut flipped = closed.clone();
    flipped.triangles[0].swap(0, 1);
    assert_eq!(flipped.edges(), EdgeCounts { n_edges: 6, n_flipped: 3, ..EdgeCounts::default() });
    let mut crowded = closed.clone();
    crowded.triangles.push([0, 1, 2]);
    assert_eq!(crowded.edges(), EdgeCounts { n_edges: 6, n_crowded: 3, ..EdgeCounts::default() });
    let mut needle = closed;
    needle.triangles.push([0, 1, 1]);
    assert!(needle.edges().is_closed());
    assert!(!Mesh::default().edges().is_closed());
}
