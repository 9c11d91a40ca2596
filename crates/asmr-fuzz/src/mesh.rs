//! Triangle meshes, and the grids that are made of them.

use asmr::metadata::ShapeField;
use asmr_media::{Mesh, ShapeOptions, is_mesh, read_mesh, voxelise, write_mesh};

use crate::folder;
use crate::media::{LIMITS, refused};

/// OBJ, PLY and STL, by content and, where that leaves it open, by each name. What is read is sound, survives writing,
/// and becomes a grid.
pub(crate) fn meshes(bytes: &[u8]) -> bool {
    // Voxels are made in slabs of 8: two of them, or three, the last one partly there.
    let resolution = if bytes.len().is_multiple_of(2) { 11 } else { 17 };
    let path = folder::file("a", bytes);
    if is_mesh(&path) {
        return check(read_mesh(&path, &LIMITS), resolution);
    }
    read_mesh(&path, &LIMITS).expect_err("it is no mesh");
    // All, whatever the first one says.
    let names = ["a.obj", "a.ply", "a.stl"];
    let taken = names.map(|name| check(read_mesh(&folder::file(name, bytes), &LIMITS), resolution));
    taken.contains(&true)
}

fn check(read: Result<Mesh, asmr_media::MediaError>, resolution: usize) -> bool {
    let mesh = match read {
        Ok(mesh) => mesh,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    assert!(!mesh.triangles.is_empty());
    assert!(mesh.vertices.as_flattened().iter().all(|x| x.is_finite()));
    for &[a, b, c] in &mesh.triangles {
        assert!(a != b && b != c && c != a, "a corner twice");
        assert!([a, b, c].iter().all(|&corner| (corner as usize) < mesh.vertices.len()), "no such vertex");
    }
    for name in ["again.ply", "again.obj"] {
        let path = folder::path(name);
        write_mesh(&path, &mesh).expect("a mesh that was read can be written");
        let again = read_mesh(&path, &asmr_media::Limits::default()).expect("our own mesh");
        // The order of vertices is the reader's own.
        assert_eq!(corners(&again), corners(&mesh), "{name}");
    }
    if mesh.triangles.len() > 300 {
        return true;
    }
    for field in [ShapeField::Occupancy, ShapeField::Distance] {
        let options = ShapeOptions { resolution, field, ..ShapeOptions::default() };
        match voxelise(&mesh, &options) {
            Ok((info, samples, _)) => {
                info.validate().expect("a grid is a signal");
                assert_eq!(samples.len(), resolution.pow(3));
                let range = info.value_range.expect("a grid has one");
                let (least, greatest) = samples.min_max().expect("values");
                assert!(
                    least >= range.low() && greatest <= range.high(),
                    "{least} to {greatest} in {range:?}"
                );
            }
            Err(error) => refused(&error),
        }
    }
    true
}

/// The places of each triangle's corners.
fn corners(mesh: &Mesh) -> Vec<[[f64; 3]; 3]> {
    mesh.triangles.iter().map(|triangle| triangle.map(|corner| mesh.vertices[corner as usize])).collect()
}
