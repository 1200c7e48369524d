//! What podman and buildah need on a machine without systemd, second cgroups and overlay file systems:
//! storage and state of their own in a test's folder.

use berth_tests::guide::Reader;

/// Gives a reader containers of their own.
pub(crate) fn isolate(reader: &mut Reader<'_>) {
    let folder = reader.work().join("containers");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let path = |name: &str| folder.join(name).display().to_string();
    // Limits above those of the machine that runs the tests are refused by its kernel.
    let engine = format!(
        "[containers]\n\
         default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n\
         [engine]\n\
         cgroup_manager = \"cgroupfs\"\n\
         events_logger = \"file\"\n\
         lock_type = \"file\"\n\
         runtime = \"runc\"\n\
         tmp_dir = \"{}\"\n",
        path("tmp")
    );
    let storage = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        path("root"),
        path("run")
    );
    for (variable, name, text) in [
        ("CONTAINERS_CONF", "containers.conf", engine),
        ("CONTAINERS_STORAGE_CONF", "storage.conf", storage),
    ] {
        std::fs::write(folder.join(name), text).expect("a configuration can be written");
        reader.with(variable, &path(name));
    }
    reader.with("REGISTRY_AUTH_FILE", &path("auth.json"));
}
