//! Chains of source layers become chains of blobs that hold the same tree.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_formats::ext4::reader::Ext4Reader;
use berth_formats::overlaybd::convert::{
    ChainError, ChainErrorKind, ChainObserver, ChainSource, Conversion, LayerJob, convert_chain,
};
use berth_formats::overlaybd::{
    Algorithm, Cancel, FinishedLayer, LayerStack, Limits, Options, Readahead, Source, open_blob,
    skim,
};
use berth_formats::verify::{Report, verify_chain};
use berth_types::Digest;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/overlaybd").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn golden() -> Vec<Vec<u8>> {
    vec![fixture("layer1.tar.gz"), fixture("layer2.tar.gz")]
}

fn source(layer: &[u8]) -> Source<Cursor<Vec<u8>>> {
    Source {
        reader: Cursor::new(layer.to_vec()),
        compression: None,
        expected: None,
        limits: Limits::default(),
    }
}

/// Layers in memory, and what became of them.
struct Chain {
    layers: Vec<Vec<u8>>,
    opened: AtomicUsize,
    blobs: Mutex<BTreeMap<usize, (Digest, Vec<u8>)>>,
}

impl Chain {
    fn new(layers: Vec<Vec<u8>>) -> Self {
        Self { layers, opened: AtomicUsize::new(0), blobs: Mutex::default() }
    }

    fn jobs(&self) -> Vec<LayerJob> {
        let diff_id =
            |layer: &Vec<u8>| skim(source(layer), &Cancel::new()).expect("a sound layer").diff_id;
        let job = |layer| LayerJob { diff_id: diff_id(layer), compression: None, cached: false };
        self.layers.iter().map(job).collect()
    }

    fn convert(&self, jobs: &[LayerJob], options: Options) -> Result<(), ChainError> {
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let cancel = Cancel::new();
        let conversion = Conversion {
            source: self,
            observer: self,
            options,
            limits: Limits::default(),
            scratch: scratch.path(),
            threads: 3,
            cancel: &cancel,
        };
        let result = convert_chain(jobs, &conversion);
        let left = std::fs::read_dir(scratch.path()).expect("the scratch folder").count();
        assert_eq!(left, 0, "scratch files are left");
        result
    }

    fn blobs(&self) -> Vec<Vec<u8>> {
        let blobs = self.blobs.lock().expect("no panic before");
        blobs.values().map(|(_, blob)| blob.clone()).collect()
    }

    fn verify(&self) -> Report {
        let sources = self.layers.iter().map(|layer| source(layer));
        verify_chain(sources, self.blobs(), 20, &Cancel::new()).expect("both sides read")
    }
}

impl ChainSource for Chain {
    fn open(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Cursor::new(&self.layers[index])))
    }
}

impl ChainObserver for Chain {
    fn finished(
        &self,
        index: usize,
        layer: FinishedLayer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let blob = std::fs::read(layer.path())?;
        assert_eq!(layer.size, blob.len() as u64);
        assert_eq!(layer.digest, Digest::sha256(&blob));
        self.blobs.lock().expect("no panic before").insert(index, (layer.digest, blob));
        Ok(())
    }
}

fn options(algorithm: Algorithm, block_size: u32) -> Options {
    Options { algorithm, block_size, virtual_size: 1 << 30, compress_threads: 1 }
}

/// A tar of regular files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_mtime(1_700_000_000);
        builder.append_data(&mut header, path, *content).expect("into memory");
    }
    builder.into_inner().expect("into memory")
}

#[test]
fn every_form_of_output_holds_the_source() {
    for (algorithm, block_size) in [
        (Algorithm::Lz4, 4096),
        (Algorithm::Lz4, 8192),
        (Algorithm::Lz4, 16_384),
        (Algorithm::Lz4, 32_768),
        (Algorithm::Zstd, 4096),
        (Algorithm::Zstd, 32_768),
    ] {
        let chain = Chain::new(golden());
        chain.convert(&chain.jobs(), options(algorithm, block_size)).expect("a sound chain");
        let report = chain.verify();
        assert_eq!(report.differences, [], "{algorithm:?} {block_size}");
        assert_eq!((report.source_layers, report.accelerated_layers), (2, 2));
        assert!(report.names > 10 && report.files > 3, "{report:?}");
    }
}

#[test]
fn the_same_chain_gives_the_same_bytes() {
    let first = Chain::new(golden());
    first.convert(&first.jobs(), options(Algorithm::Lz4, 4096)).expect("a sound chain");
    for compress_threads in [0, 3] {
        let again = Chain::new(golden());
        let options = Options { compress_threads, ..options(Algorithm::Lz4, 4096) };
        again.convert(&again.jobs(), options).expect("a sound chain");
        assert!(first.blobs() == again.blobs(), "{compress_threads} threads");
    }
    // A layer's bytes do not depend on the layers above it.
    let mut layers = golden();
    layers.push(tar(&[("above", b"x")]));
    let longer = Chain::new(layers);
    longer.convert(&longer.jobs(), options(Algorithm::Lz4, 4096)).expect("a sound chain");
    assert!(longer.blobs().get(..2) == Some(&first.blobs()));
    assert_eq!(longer.verify().differences, []);
}

#[test]
fn cached_layers_are_only_read_when_needed() {
    let whole = Chain::new(golden());
    whole.convert(&whole.jobs(), options(Algorithm::Lz4, 4096)).expect("a sound chain");

    let upper = Chain::new(golden());
    let mut jobs = upper.jobs();
    jobs[0].cached = true;
    upper.convert(&jobs, options(Algorithm::Lz4, 4096)).expect("a sound chain");
    assert_eq!(upper.opened.load(Ordering::Relaxed), 2);
    assert!(Some(upper.blobs().as_slice()) == whole.blobs().get(1..));

    let lower = Chain::new(golden());
    let mut jobs = lower.jobs();
    jobs[1].cached = true;
    lower.convert(&jobs, options(Algorithm::Lz4, 4096)).expect("a sound chain");
    assert_eq!(lower.opened.load(Ordering::Relaxed), 1);
    assert!(Some(lower.blobs().as_slice()) == whole.blobs().get(..1));
}

#[test]
fn layers_name_their_chain() {
    let chain = Chain::new(golden());
    let jobs = chain.jobs();
    chain.convert(&jobs, options(Algorithm::Lz4, 4096)).expect("a sound chain");
    let blobs = chain.blobs();
    let first = open_blob(blobs[0].clone()).expect("own blob").trailer;
    let second = open_blob(blobs[1].clone()).expect("own blob").trailer;
    let digits = jobs[0].diff_id.hex()[..32].to_uppercase();
    assert_eq!(first.uuid.replace('-', ""), digits);
    assert_eq!(first.parent, None);
    assert_eq!(second.parent, Some(first.uuid));
}

#[test]
fn empty_and_zero_files_take_no_space() {
    let zeros = vec![0; 3 << 20];
    let mut holes = vec![0; 1 << 20];
    holes[5000..5100].fill(1);
    holes[600_000] = 2;
    holes[602_000] = 3;
    let chain = Chain::new(vec![tar(&[("zeros", &zeros), ("empty", b""), ("holes", &holes)])]);
    chain.convert(&chain.jobs(), options(Algorithm::Lz4, 4096)).expect("a sound chain");
    assert_eq!(chain.verify().differences, []);
    let blob = open_blob(chain.blobs().remove(0)).expect("own blob");
    assert!(blob.trailer.index_offset < 200_000, "{}", blob.trailer.index_offset);
}

#[test]
fn a_layer_without_entries_is_a_layer() {
    let chain = Chain::new(vec![tar(&[("a", b"1")]), tar(&[]), tar(&[("b", b"2")])]);
    chain.convert(&chain.jobs(), options(Algorithm::Zstd, 16_384)).expect("a sound chain");
    assert_eq!(chain.blobs().len(), 3);
    assert_eq!(chain.verify().differences, []);
}

#[test]
fn few_reads_open_a_blob_and_find_a_file() {
    let content: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
    let files: Vec<(String, &[u8])> =
        (0..200).map(|number| (format!("usr/lib/file{number}"), content.as_slice())).collect();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(path, file)| (path.as_str(), *file)).collect();
    let chain = Chain::new(vec![tar(&files)]);
    chain.convert(&chain.jobs(), options(Algorithm::Lz4, 4096)).expect("a sound chain");
    let blob = chain.blobs().remove(0);
    let size = blob.len() as u64;
    let remote = std::sync::Arc::new(Readahead::new(blob, 64 * 1024, 64));
    let stack = LayerStack::open(vec![std::sync::Arc::clone(&remote)]).expect("own blob");
    assert!(remote.requests() <= 4, "{} requests to open", remote.requests());
    let file_system = Ext4Reader::open(stack).expect("own file system");
    let inode = file_system.lookup(b"/usr/lib/../lib/file77", true).expect("it is there");
    let mut found = Vec::new();
    file_system.content(&inode).expect("its map").read_to_end(&mut found).expect("its content");
    assert!(found == content);
    assert!(remote.requests() <= 12, "{} requests", remote.requests());
    assert!(remote.bytes() < size / 4, "{} of {size} bytes", remote.bytes());
}

fn fails(chain: &Chain, jobs: &[LayerJob]) -> ChainError {
    chain.convert(jobs, options(Algorithm::Lz4, 4096)).expect_err("a broken chain")
}

#[test]
fn broken_layers_are_named() {
    let good = Chain::new(golden());
    let jobs = good.jobs();
    let layer = &good.layers[1];

    // Cut off, and damaged in the middle.
    let cut = layer[..layer.len() / 2].to_vec();
    let mut damaged = layer.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    for bad in [cut, damaged] {
        let error = fails(&Chain::new(vec![good.layers[0].clone(), bad]), &jobs);
        assert_eq!((error.kind(), error.layer()), (ChainErrorKind::Broken, Some(1)), "{error}");
        assert!(error.to_string().starts_with("layer 1: "), "{error}");
    }

    // Another layer than promised.
    let error = fails(&Chain::new(vec![good.layers[0].clone(); 2]), &jobs);
    assert_eq!((error.kind(), error.layer()), (ChainErrorKind::Broken, Some(1)));
    assert!(error.to_string().contains(jobs[1].diff_id.as_str()), "{error}");

    // A tar that ends inside of an entry.
    let whole = tar(&[("first", b"1"), ("second", &[7; 5000])]);
    let error = fails(&Chain::new(vec![whole[..3000].to_vec()]), &jobs[..1]);
    assert_eq!(error.kind(), ChainErrorKind::Broken);
    assert!(error.to_string().contains("second"), "{error}");
}

#[test]
fn a_full_disk_is_told() {
    let noise: Vec<u8> =
        (0..2_000_000_u32).flat_map(|at| at.wrapping_mul(at).to_le_bytes()).collect();
    let files: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|f| (f.as_str(), noise.as_slice())).collect();
    let chain = Chain::new(vec![tar(&files)]);
    let small = Options { virtual_size: 128 << 20, ..options(Algorithm::Lz4, 4096) };
    let error = chain.convert(&chain.jobs(), small).expect_err("it does not fit");
    assert_eq!(error.kind(), ChainErrorKind::Full, "{error}");
}

/// A source whose reader fails, or else an observer that fails.
struct Faulty<'a> {
    chain: &'a Chain,
    read_fails: bool,
}

impl ChainSource for Faulty<'_> {
    fn open(&self, index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        let layer = Cursor::new(&self.chain.layers[index]);
        if self.read_fails && index == 1 {
            return Ok(Box::new(layer.take(5000).chain(Broken)));
        }
        Ok(Box::new(layer))
    }
}

impl ChainObserver for Faulty<'_> {
    fn finished(
        &self,
        _index: usize,
        _layer: FinishedLayer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.read_fails { Ok(()) } else { Err("nobody wants it".into()) }
    }
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::ConnectionReset, "the peer went away"))
    }
}

#[test]
fn faults_of_the_caller_come_back() {
    let chain = Chain::new(golden());
    let jobs = chain.jobs();
    for (read_fails, kind, words) in [
        (true, ChainErrorKind::Source, "the peer went away"),
        (false, ChainErrorKind::Observer, "nobody wants it"),
    ] {
        let faulty = Faulty { chain: &chain, read_fails };
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let cancel = Cancel::new();
        let conversion = Conversion {
            source: &faulty,
            observer: &faulty,
            options: options(Algorithm::Lz4, 4096),
            limits: Limits::default(),
            scratch: scratch.path(),
            threads: 1,
            cancel: &cancel,
        };
        let error = convert_chain(&jobs, &conversion).expect_err("it fails");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!cancel.is_cancelled());
        assert_eq!(std::fs::read_dir(scratch.path()).expect("scratch").count(), 0);
    }
}

/// An endless layer: one file that never ends.
struct Endless<'a>(&'a Cancel, AtomicUsize);

impl ChainSource for Endless<'_> {
    fn open(&self, _index: usize) -> io::Result<Box<dyn Read + Send + '_>> {
        let mut header = tar::Header::new_gnu();
        header.set_path("endless")?;
        header.set_size(1 << 40);
        header.set_cksum();
        let noise = Noise { cancel: self.0, count: &self.1 };
        Ok(Box::new(Cursor::new(header.as_bytes().to_vec()).chain(noise)))
    }
}

impl ChainObserver for Endless<'_> {
    fn finished(
        &self,
        _index: usize,
        _layer: FinishedLayer,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(())
    }
}

struct Noise<'a> {
    cancel: &'a Cancel,
    count: &'a AtomicUsize,
}

impl Read for Noise<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.count.fetch_add(buffer.len(), Ordering::Relaxed) > 16 << 20 {
            self.cancel.cancel();
        }
        buffer.fill(7);
        Ok(buffer.len())
    }
}

#[test]
fn cancelling_and_limits_stop_an_endless_layer() {
    for limited in [false, true] {
        let cancel = Cancel::new();
        let endless = Endless(&cancel, AtomicUsize::new(0));
        let scratch = tempfile::tempdir().expect("a scratch folder");
        let inflated = if limited { 4 << 20 } else { u64::MAX };
        let conversion = Conversion {
            source: &endless,
            observer: &endless,
            options: options(Algorithm::Lz4, 4096),
            limits: Limits { inflated, ..Limits::default() },
            scratch: scratch.path(),
            threads: 2,
            cancel: &cancel,
        };
        let jobs = [LayerJob { diff_id: Digest::sha256(b""), compression: None, cached: false }];
        let error = convert_chain(&jobs, &conversion).expect_err("it never ends");
        let expected = if limited { ChainErrorKind::Broken } else { ChainErrorKind::Canceled };
        assert_eq!(error.kind(), expected, "{error}");
        assert!(endless.1.load(Ordering::Relaxed) < 32 << 20, "it read on");
        assert_eq!(std::fs::read_dir(scratch.path()).expect("scratch").count(), 0);
    }
}

#[test]
fn what_a_layer_makes_is_limited_and_not_how_well_it_was_compressed() {
    let zeros = vec![0; 64 << 20];
    let small = zstd::bulk::compress(&tar(&[("lastlog", &zeros)]), 3).expect("into memory");
    assert!(small.len() < zeros.len() / 10_000, "{}", small.len());
    let many = tar(&[("a", b""), ("b", b""), ("c", b"")]);
    let default = Limits::default();
    let bytes = Limits { inflated: 32 << 20, ..default };
    let entries = Limits { entries: 2, ..default };
    let window = Limits { window: 1 << 10, ..default };
    for (layer, limits, words) in [
        (&small, bytes, "more than 33554432 bytes uncompressed"),
        (&many, entries, "more than 2 entries"),
        (&small, window, "the limit is 1024 bytes"),
    ] {
        assert!(skim(source(layer), &Cancel::new()).is_ok());
        let error = skim(Source { limits, ..source(layer) }, &Cancel::new());
        let error = error.err().expect("a limit is passed").to_string();
        assert!(error.starts_with("limit passed") && error.contains(words), "{error}");
    }
}
