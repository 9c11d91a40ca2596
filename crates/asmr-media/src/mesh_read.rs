//! Mesh files to meshes.
//!
//! OBJ by tobj and PLY by ply-rs-bw. STL is read here: `stl_io` drops what follows the first `endsolid`, takes
//! binary files that begin with "solid" for text, and refuses text without a name or with the normals `nan` that
//! some programs write.

use std::fs::{self, File};
use std::io::{self, BufRead, Cursor, Read};
use std::path::Path;

use ply_rs_bw::parser::{Parser, Reader};
use ply_rs_bw::ply::{Property, PropertyAccess, PropertyAccessResult};

use crate::error::MediaError;
use crate::image_read::Limits;
use crate::mesh::{Mesh, MeshFormat};

/// How much of a file is looked at to tell what it is.
const HEAD_BYTES: u64 = 1 << 16;
/// Bytes of a binary STL's header, with the count.
const STL_HEADER: u64 = 84;
/// Bytes of a triangle of a binary STL.
const STL_TRIANGLE: u64 = 50;

/// Whether a file is a mesh of a format that is read, by its content; by its extension where the content leaves
/// that open (a damaged file, an OBJ that begins with pages of comments). False for whatever is no readable regular
/// file.
#[must_use]
pub fn is_mesh(path: &Path) -> bool {
    let head = || -> io::Result<(Vec<u8>, u64)> {
        let length = fs::metadata(path)?;
        if !length.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut head = Vec::new();
        File::open(path)?.take(HEAD_BYTES).read_to_end(&mut head)?;
        Ok((head, length.len()))
    };
    head().is_ok_and(|(head, length)| format_of(&head, length, path).is_some())
}

/// Reads a mesh: OBJ, PLY (text and binary of both byte orders) or STL (text and binary), recognised by its content.
///
/// Polygons become fans of triangles from their first corner, which is right where they are convex. Vertices at
/// exactly one place become one, vertices of no face and faces with a corner twice go. Normals, colours and texture
/// are not kept; fronts are those of the corners' order.
///
/// `limits.max_alloc_bytes` is the largest file that is read; reading needs up to about 30 times the file's bytes
/// (a text of many short faces).
///
/// # Errors
/// [`MediaError::Read`]; [`MediaError::Damaged`] for a file that is cut short, breaks its format's rules, or has a
/// corner without a vertex; [`MediaError::Unusable`] for another kind of file, one that is too large, has no faces,
/// or has a coordinate that is not finite.
pub fn read_mesh(path: &Path, limits: &Limits) -> Result<Mesh, MediaError> {
    let unreadable = |error| MediaError::Read { path: path.to_path_buf(), error };
    let unusable = |problem| MediaError::Unusable { path: path.to_path_buf(), problem };
    if fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Err(unreadable(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a folder; give the name of a mesh in it",
        )));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(limits.max_alloc_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limits.max_alloc_bytes {
        return Err(unusable(format!(
            "it has more than {} bytes, which is the limit; simplify the mesh or raise the limit",
            limits.max_alloc_bytes
        )));
    }
    let head = &bytes[..bytes.len().min(HEAD_BYTES as usize)];
    let Some(format) = format_of(head, bytes.len() as u64, path) else {
        return Err(unusable("it is no mesh; accepted formats are OBJ, PLY and STL".to_owned()));
    };
    let damaged = |detail| MediaError::Damaged { path: path.to_path_buf(), format: format.name(), detail };
    let mut mesh = match format {
        MeshFormat::Obj => read_obj(&bytes),
        MeshFormat::Ply => read_ply(&bytes),
        MeshFormat::Stl => read_stl(&bytes),
    }
    .map_err(damaged)?;
    drop(bytes);
    mesh.check().map_err(unusable)?;
    mesh.merge_vertices();
    if mesh.triangles.is_empty() {
        return Err(unusable(
            "each of its faces has a corner twice; a shape needs a surface with an area".to_owned(),
        ));
    }
    Ok(mesh)
}

/// The format of a file's first bytes and its length; the extension's where they leave it open.
fn format_of(head: &[u8], length: u64, path: &Path) -> Option<MeshFormat> {
    if head.starts_with(b"ply\n") || head.starts_with(b"ply\r") {
        return Some(MeshFormat::Ply);
    }
    if stl_count(head).is_some_and(|n| n > 0 && STL_HEADER + n * STL_TRIANGLE == length) {
        return Some(MeshFormat::Stl);
    }
    if let Ok(format) = MeshFormat::of_extension(path) {
        return Some(format);
    }
    let is_whole = head.len() as u64 == length;
    // The last line may be cut.
    let text = if is_whole { head } else { &head[..head.iter().rposition(|&b| b == b'\n').unwrap_or(0)] };
    // Lines of an OBJ may go on in the next.
    let text = std::str::from_utf8(text).ok()?.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut word = lines.next()?.split_ascii_whitespace().next()?;
    if word.eq_ignore_ascii_case("solid") {
        let second = lines.next()?.to_ascii_lowercase();
        return (second.starts_with("facet") || second.starts_with("endsolid")).then_some(MeshFormat::Stl);
    }
    // Every line of an OBJ begins with a keyword, and its vertices come first.
    let mut has_vertex = false;
    loop {
        match word {
            "v" => has_vertex = true,
            "vn" | "vt" | "vp" | "f" | "l" | "p" | "o" | "g" | "s" | "mtllib" | "usemtl" | "usemap"
            | "maplib" | "shadow_obj" | "trace_obj" | "mg" | "bevel" | "c_interp" | "d_interp" | "lod" => {}
            _ => return None,
        }
        let Some(line) = lines.next() else { break };
        word = line.split_ascii_whitespace().next().unwrap_or_default();
    }
    has_vertex.then_some(MeshFormat::Obj)
}

fn read_obj(bytes: &[u8]) -> Result<Mesh, String> {
    let options = tobj::LoadOptions { triangulate: true, ..Default::default() };
    let no_materials = |_: &Path| Err(tobj::LoadError::OpenFileFailed);
    let (models, _) = tobj::load_obj_buf(&mut Cursor::new(corners_and_faces(bytes)?), &options, no_materials)
        .map_err(|error| error.to_string())?;
    let mut mesh = Mesh::default();
    for model in models {
        let first = u32::try_from(mesh.vertices.len()).map_err(|_| too_many())?;
        let (vertices, _) = model.mesh.positions.as_chunks::<3>();
        mesh.vertices.extend_from_slice(vertices);
        let (triangles, _) = model.mesh.indices.as_chunks::<3>();
        for triangle in triangles {
            let corner = |i: usize| triangle[i].checked_add(first).ok_or_else(too_many);
            mesh.triangles.push([corner(0)?, corner(1)?, corner(2)?]);
        }
    }
    Ok(mesh)
}

/// The lines of an OBJ that make its surface, with nothing but places of vertices and numbers of corners in them.
///
/// tobj takes lines (`l`) of three corners for faces, divides by a fourth number of a vertex, wants names in UTF-8,
/// colours for all vertices or none, and no comment or continuation within a line.
fn corners_and_faces(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut kept = Vec::with_capacity(bytes.len());
    let mut joined = Vec::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(line) = line.strip_suffix(b"\\") {
            joined.extend_from_slice(line);
            joined.push(b' ');
            continue;
        }
        joined.extend_from_slice(line);
        let uncommented = joined.split(|&byte| byte == b'#').next().unwrap_or_default();
        let mut words = uncommented.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        match words.next() {
            Some(b"v") => {
                kept.push(b'v');
                for word in words.take(3) {
                    kept.push(b' ');
                    kept.extend_from_slice(word);
                }
                kept.push(b'\n');
            }
            Some(b"f") => {
                kept.push(b'f');
                for word in words {
                    kept.push(b' ');
                    kept.extend(word.iter().take_while(|&&byte| byte != b'/'));
                }
                kept.push(b'\n');
            }
            Some(word) if !word.iter().all(u8::is_ascii_graphic) => {
                return Err(format!("its line {} begins with no word", number + 1));
            }
            _ => {}
        }
        joined.clear();
    }
    Ok(kept)
}

fn too_many() -> String {
    format!("it has more than {} vertices", u32::MAX)
}

/// An element of a PLY file that is of no interest.
struct Skipped;

impl PropertyAccess for Skipped {
    fn new() -> Self {
        Self
    }
}

struct PlyVertex([f64; 3]);

impl PropertyAccess for PlyVertex {
    fn new() -> Self {
        Self([f64::NAN; 3])
    }

    fn set_property(&mut self, name: &str, value: Property) -> PropertyAccessResult {
        let axis = match name {
            "x" => 0,
            "y" => 1,
            "z" => 2,
            _ => return PropertyAccessResult::Ignored,
        };
        self.0[axis] = match value {
            Property::Char(v) => v.into(),
            Property::UChar(v) => v.into(),
            Property::Short(v) => v.into(),
            Property::UShort(v) => v.into(),
            Property::Int(v) => v.into(),
            Property::UInt(v) => v.into(),
            Property::Float(v) => v.into(),
            Property::Double(v) => v,
            _ => return PropertyAccessResult::UnsupportedType,
        };
        PropertyAccessResult::Set
    }
}

#[derive(Default)]
struct PlyFace {
    corners: Vec<u32>,
}

impl PropertyAccess for PlyFace {
    fn new() -> Self {
        Self::default()
    }

    fn set_property(&mut self, name: &str, value: Property) -> PropertyAccessResult {
        if name != "vertex_indices" && name != "vertex_index" {
            return PropertyAccessResult::Ignored;
        }
        match value.to_u32_list() {
            Some(corners) => self.corners = corners,
            None => return PropertyAccessResult::UnsupportedType,
        }
        PropertyAccessResult::Set
    }
}

fn read_ply(bytes: &[u8]) -> Result<Mesh, String> {
    // The library's messages show the line at fault, which may be a whole file, or binary.
    fn explain(error: &ply_rs_bw::parser::ParseError) -> String {
        let text = error.to_string();
        let first: String =
            text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
        first.trim_end_matches('.').to_owned()
    }
    let mut reader = Reader::new(Cursor::new(bytes));
    let header = Parser::<Skipped>::new().read_header(&mut reader).map_err(|e| explain(&e))?;
    let mut mesh = Mesh::default();
    for (name, element) in &header.elements {
        // Every element takes a byte at least, so that a count cannot ask for more than the file has.
        let left = (bytes.len() as u64).saturating_sub(reader.get_ref().position());
        if element.count > 0 && (element.properties.is_empty() || element.count as u64 > left) {
            return Err(format!(
                "its header tells of {} elements \"{name}\", and {left} bytes are left of the file",
                element.count
            ));
        }
        match name.as_str() {
            "vertex" => {
                let vertices =
                    Parser::<PlyVertex>::new().read_payload_for_element(&mut reader, element, &header);
                mesh.vertices = vertices.map_err(|e| explain(&e))?.into_iter().map(|v| v.0).collect();
                if mesh.vertices.iter().any(|v| v.iter().any(|x| x.is_nan()))
                    && ["x", "y", "z"].iter().any(|&axis| !element.properties.contains_key(axis))
                {
                    return Err("its vertices lack x, y or z".to_owned());
                }
            }
            "face" => {
                // One by one: a list per face would take several times the memory of the mesh.
                let mut one = element.clone();
                one.count = 1;
                for _ in 0..element.count {
                    let faces = Parser::<PlyFace>::new().read_payload_for_element(&mut reader, &one, &header);
                    for face in faces.map_err(|e| explain(&e))? {
                        fan(&face.corners, &mut mesh.triangles);
                    }
                }
            }
            _ => {
                let skipped =
                    Parser::<Skipped>::new().read_payload_for_element(&mut reader, element, &header);
                skipped.map_err(|e| explain(&e))?;
            }
        }
    }
    Ok(mesh)
}

fn fan(corners: &[u32], triangles: &mut Vec<[u32; 3]>) {
    if let [first, rest @ ..] = corners {
        triangles.extend(rest.windows(2).map(|pair| [*first, pair[0], pair[1]]));
    }
}

/// Triangles that a binary STL's header tells of.
fn stl_count(head: &[u8]) -> Option<u64> {
    let count: [u8; 4] = head.get(80..84)?.try_into().ok()?;
    Some(u32::from_le_bytes(count).into())
}

fn read_stl(bytes: &[u8]) -> Result<Mesh, String> {
    let length = bytes.len() as u64;
    let count = stl_count(bytes).unwrap_or(0);
    let text = bytes.trim_ascii_start();
    let is_text = text.get(..5).is_some_and(|word| word.eq_ignore_ascii_case(b"solid"))
        && STL_HEADER + count * STL_TRIANGLE != length
        && !bytes[..bytes.len().min(HEAD_BYTES as usize)].contains(&0);
    if is_text {
        return read_stl_text(text);
    }
    if length < STL_HEADER || (length - STL_HEADER) / STL_TRIANGLE < count {
        return Err(format!(
            "its header tells of {count} triangles, which take {} bytes, and it has {length}",
            STL_HEADER + count * STL_TRIANGLE
        ));
    }
    let mut mesh = Mesh::default();
    for triangle in bytes[STL_HEADER as usize..].chunks_exact(STL_TRIANGLE as usize).take(count as usize) {
        let (numbers, _) = triangle[12..48].as_chunks::<4>();
        let numbers: Vec<f64> = numbers.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect();
        let (corners, _) = numbers.as_chunks::<3>();
        push_triangle(&mut mesh, corners)?;
    }
    Ok(mesh)
}

fn push_triangle(mesh: &mut Mesh, corners: &[[f64; 3]]) -> Result<(), String> {
    let first =
        u32::try_from(mesh.vertices.len()).ok().filter(|&i| i <= u32::MAX - 3).ok_or_else(too_many)?;
    mesh.vertices.extend_from_slice(corners);
    mesh.triangles.push([first, first + 1, first + 2]);
    Ok(())
}

/// The text form: what counts are the three lines `vertex` of each `outer loop`.
fn read_stl_text(text: &[u8]) -> Result<Mesh, String> {
    let mut mesh = Mesh::default();
    let mut corners: Vec<[f64; 3]> = Vec::with_capacity(3);
    let mut is_open = false;
    for (number, line) in Cursor::new(text).lines().enumerate() {
        let problem = |what: &str| format!("line {}: {what}", number + 1);
        let line = line.map_err(|_| problem("it is no text"))?.to_ascii_lowercase();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("vertex") => {
                let numbers: Vec<f64> = words.map_while(|word| word.parse().ok()).collect();
                let place = numbers.try_into().map_err(|_| problem("a vertex needs three numbers"))?;
                if corners.len() == 3 {
                    return Err(problem("a facet has three vertices"));
                }
                corners.push(place);
            }
            Some("endloop") => {
                if corners.len() != 3 {
                    return Err(problem(&format!("a facet has three vertices, not {}", corners.len())));
                }
                push_triangle(&mut mesh, &corners)?;
                corners.clear();
            }
            Some("solid") => is_open = true,
            Some("endsolid") => is_open = false,
            Some("facet" | "outer" | "endfacet") | None => {}
            Some(_) => return Err(problem("it begins with no word of the format")),
        }
    }
    if is_open || !corners.is_empty() {
        return Err("it ends before \"endsolid\"".to_owned());
    }
    Ok(mesh)
}
