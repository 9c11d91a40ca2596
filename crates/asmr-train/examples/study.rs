//! Optimiser study on PNM pictures.
use asmr::network::{Modulator, Network, NetworkConfig, Role};
use asmr::partition::{Partition, parse_bases};
use asmr::signal::*;
use asmr_kernels::IsaLevel;
use asmr_kernels::optim::{AdamStep, adam};
use asmr_train::gradient::{Batch, GradientEngine};
use nalgebra::DMatrix;
use std::collections::HashMap;
use std::time::Instant;

fn read_pnm(path: &str) -> Signal {
    let bytes = std::fs::read(path).unwrap();
    let mut fields = Vec::new();
    let mut at = 2;
    while fields.len() < 3 {
        while bytes[at].is_ascii_whitespace() { at += 1; }
        let start = at;
        while !bytes[at].is_ascii_whitespace() { at += 1; }
        fields.push(std::str::from_utf8(&bytes[start..at]).unwrap().parse::<usize>().unwrap());
    }
    let channels = if bytes[1] == b'5' { 1 } else { 3 };
    let info = SignalInfo { extents: vec![fields[1], fields[0]], channels, sample_type: SampleType::U8, color: None };
    Signal::new(info, Samples::U8(bytes[at + 1..].to_vec())).unwrap()
}

type M = DMatrix<f32>;

/// SOAP state of one matrix [out, in].
struct Soap { l: Option<M>, r: Option<M>, ql: Option<M>, qr: Option<M>, v: M, m: M, t: i32 }

fn eig(a: &M) -> M { let e = a.clone().symmetric_eigen(); 
    let mut idx: Vec<usize> = (0..a.nrows()).collect(); idx.sort_by(|&i,&j| e.eigenvalues[j].total_cmp(&e.eigenvalues[i]));
    M::from_fn(a.nrows(), a.nrows(), |i,j| e.eigenvectors[(i, idx[j])]) }
fn power_qr(a: &M, q: &M) -> M { (a * q).qr().q() }

impl Soap {
    fn new(o: usize, i: usize, max: usize) -> Self {
        let f = |n: usize| if n > 1 && n <= max { Some(M::zeros(n, n)) } else { None };
        Soap { l: f(o), r: f(i), ql: None, qr: None, v: M::zeros(o, i), m: M::zeros(o, i), t: 0 }
    }
    fn proj(&self, g: &M) -> M { let mut x = g.clone(); if let Some(q) = &self.ql { x = q.transpose() * x; } if let Some(q) = &self.qr { x = x * q; } x }
    fn back(&self, g: &M) -> M { let mut x = g.clone(); if let Some(q) = &self.ql { x = q * x; } if let Some(q) = &self.qr { x = x * q.transpose(); } x }
    /// Returns the update direction.
    fn step(&mut self, g: &M, b1: f32, b2: f32, shampoo_beta: f32, every: i32) -> M {
        let first = self.t == 0;
        self.t += 1;
        if first {
            if let Some(l) = &mut self.l { *l = g * g.transpose(); self.ql = Some(eig(l)); }
            if let Some(r) = &mut self.r { *r = g.transpose() * g; self.qr = Some(eig(r)); }
        }
        self.m = &self.m * b1 + g * (1.0 - b1);
        let gp = self.proj(g);
        self.v = self.v.zip_map(&gp, |v, g| b2 * v + (1.0 - b2) * g * g);
        let c1 = 1.0 / (1.0 - b1.powi(self.t)); let c2 = 1.0 / (1.0 - b2.powi(self.t));
        let mp = self.proj(&self.m);
        let n = mp.zip_map(&self.v, |m, v| m * c1 / ((v * c2).sqrt() + 1e-8));
        let out = self.back(&n);
        if let Some(l) = &mut self.l { *l = &*l * shampoo_beta + g * g.transpose() * (1.0 - shampoo_beta); }
        if let Some(r) = &mut self.r { *r = &*r * shampoo_beta + g.transpose() * g * (1.0 - shampoo_beta); }
        if self.t % every == 0 {
            if let (Some(l), Some(q)) = (&self.l, &self.ql) { self.ql = Some(power_qr(l, q)); }
            if let (Some(r), Some(q)) = (&self.r, &self.qr) { self.qr = Some(power_qr(r, q)); }
        }
        out
    }
}

fn main() {
    let args: HashMap<String, String> = std::env::args().skip(1).filter_map(|a| a.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect();
    let get = |k: &str, d: f64| args.get(k).map_or(d, |v| v.parse().unwrap());
    let threads = get("threads", 2.0) as usize;
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().unwrap();
    let signal = read_pnm(&args["image"]);
    let bases = parse_bases(&args["bases"]).unwrap();
    let bases = if bases.len() == 1 { vec![bases[0].clone(); 2] } else { bases };
    let partition = Partition::new(&signal.info().extents, &bases).unwrap();
    let modulator = match args.get("mod").map(String::as_str) { Some("table") => Modulator::Table, Some("nonlinear") => Modulator::Nonlinear, _ => Modulator::Linear };
    let config = NetworkConfig { partition, channels: signal.info().channels, width: get("width", 256.0) as usize, omega_0: 30.0, modulator };
    let steps = get("steps", 1000.0) as u32;
    let (lr, lrmod, warm, beta2, scale) = (get("lr", 1e-3), get("lrmod", 1.0), get("warm", 0.0), get("beta2", 0.999), get("scale", 1.0));
    let (lrfirst, lrout, lrbias, end) = (get("lrfirst", 1.0), get("lrout", 1.0), get("lrbias", 1.0), get("end", 0.1));
    let clip = get("clip", 0.0);
    let network = Network::init(config.clone(), get("seed", 1.0) as u64, scale as f32).unwrap();
    let mut params = network.into_params();
    let mut engine = GradientEngine::new(&config, &signal, IsaLevel::detect());
    let n = params.len();
    let (mut g, mut m, mut v) = (vec![0f32; n], vec![0f32; n], vec![0f32; n]);
    let tensors = config.tensors();
    let opt = args.get("opt").cloned().unwrap_or("adam".into());
    let mut soaps: Vec<Option<Soap>> = tensors.iter().map(|t| (opt == "soap" && t.shape.len() == 2 && (matches!(t.role, Role::LayerWeight(_)) || (get("soapmod", 0.0) > 0.0 && matches!(t.role, Role::Modulator(_)))|| (get("soapout", 0.0) > 0.0 && matches!(t.role, Role::OutputWeight)))).then(|| Soap::new(t.shape[0], t.shape[1], get("soapmax", 512.0) as usize))).collect();
    let start = Instant::now();
    let mut best = 0.0f64;
    let mut last = 0.0;
    for t in 1..=steps {
        let loss = engine.loss_and_gradient(&params, Batch::Full, &mut g);
        last = -10.0 * loss.mse.log10();
        best = best.max(last);
        if t % (get("every", 100.0) as u32) == 0 || t == 1 { eprint!("{t}:{last:.2} "); }
        if !loss.mse.is_finite() { break; }
        let progress = f64::from(t - 1) / f64::from(steps);
        let warmup = if warm > 0.0 { (f64::from(t) / warm).min(1.0) } else { 1.0 };
        let rate = warmup * lr * (end + (1.0 - end) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()));
        let norm = g.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let gs = if clip > 0.0 { (clip / norm).min(1.0) } else { 1.0 };
        for (ti, tensor) in tensors.iter().enumerate() {
            let is_bias = tensor.name.ends_with("bias");
            let f = match tensor.role { Role::Modulator(_) => lrmod, Role::LayerWeight(0) | Role::LayerBias(0) => lrfirst, Role::OutputWeight | Role::OutputBias => lrout, _ => 1.0 } * if is_bias { lrbias } else { 1.0 };
            let r = tensor.range();
            if let Some(soap) = &mut soaps[ti] {
                let gm = M::from_row_slice(tensor.shape[0], tensor.shape[1], &g[r.clone()]) * gs as f32;
                let u = soap.step(&gm, get("b1", 0.95) as f32, get("sb2", 0.95) as f32, get("shb", 0.95) as f32, get("freq", 10.0) as i32);
                let rate = (rate * f * get("soaplr", 1.0)) as f32;
                for (i, row) in params[r.clone()].chunks_exact_mut(tensor.shape[1]).enumerate() { for (j, p) in row.iter_mut().enumerate() { *p -= rate * u[(i, j)]; } }
                continue;
            }
            let step = AdamStep { rate: (rate * f) as f32, beta1: 0.9, beta2: beta2 as f32, epsilon: 1e-8, correction1: (1.0 / (1.0 - 0.9f64.powi(t as i32))) as f32, correction2: (1.0 / (1.0 - beta2.powi(t as i32))) as f32, gradient_scale: gs as f32 };
            adam(IsaLevel::detect(), step, &g[r.clone()], &mut m[r.clone()], &mut v[r.clone()], &mut params[r.clone()]);
        }
    }
    println!("\nfinal {last:.3} best {best:.3} {:.1} ms/step", start.elapsed().as_secs_f64() * 1e3 / f64::from(steps));
}
