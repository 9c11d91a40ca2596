//! Times of shapes: `cargo run --release -p asmr-media --example shapes -- RESOLUTION MESH...`

use std::path::Path;
use std::time::Instant;

use asmr::metadata::ShapeField;
use asmr_media::{Limits, SURFACE_LEVEL, ShapeOptions, compare_meshes, read_mesh, surface, voxelise};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let resolution = arguments.next().ok_or("RESOLUTION MESH...")?.parse()?;
    println!(
        "mesh\ttriangles\tread_s\toccupancy_s\tdistance_s\tsurface_s\tcompare_s\tinside\tchamfer\tnormals"
    );
    for name in arguments {
        let path = Path::new(&name);
        let start = Instant::now();
        let mesh = read_mesh(path, &Limits::default())?;
        let read_s = start.elapsed().as_secs_f64();

        let options = ShapeOptions { resolution, ..ShapeOptions::default() };
        let start = Instant::now();
        let (_, _, notes) = voxelise(&mesh, &options)?;
        let occupancy_s = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let (info, samples, _) = voxelise(&mesh, &ShapeOptions { field: ShapeField::Distance, ..options })?;
        let distance_s = start.elapsed().as_secs_f64();
        let mut values = vec![0.0; samples.len()];
        info.scaled(&samples, 0, &mut values);

        let start = Instant::now();
        let again = surface(&info, &values, SURFACE_LEVEL)?;
        let surface_s = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let scores = compare_meshes(&mesh, &again, 100_000, 0)?;
        let compare_s = start.elapsed().as_secs_f64();
        println!(
            "{}\t{}\t{read_s:.2}\t{occupancy_s:.2}\t{distance_s:.2}\t{surface_s:.2}\t{compare_s:.2}\t{}\t{:.3e}\t{:.4}",
            path.file_name().unwrap_or_default().display(),
            mesh.triangles.len(),
            notes.n_inside,
            scores.relative_chamfer,
            scores.normal_consistency
        );
        for remark in notes.remarks() {
            println!("# {remark}");
        }
        println!("# surface: {:?}", again.edges());
    }
    Ok(())
}
