#!/usr/bin/env python3
"""Compares two unpacked or mounted trees in everything that a container can see.

    compare_trees.py EXPECTED ACTUAL [--ignore PATH]... [--ignore-mtime PATH]... [--any-folder-mtime]
                     [--devices-apart]

Names, types, permission bits, owners, modification times to the nanosecond, sizes, contents, link
targets, link counts and which names are links of each other, device numbers, extended attributes.
Exits with 1 and one line per difference (at most 100) when there is any.

--devices-apart leaves out which names of devices and pipes are links of each other.

Not compared: link counts and sizes of directories, which every file system counts in its own way.
"""

import argparse
import hashlib
import json
import os
import stat
import sys

MOST_LINES = 100


def entries(root):
    """Relative path -> status, the root itself as '.'."""
    found, folders = {".": os.lstat(root)}, ["."]
    while folders:
        folder = folders.pop()
        for entry in os.scandir(os.path.join(root, folder)):
            path = os.path.normpath(os.path.join(folder, entry.name))
            found[path] = status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                folders.append(path)
    return found


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            total.update(part)
    return total.hexdigest()


def xattrs(path):
    return {name: os.getxattr(path, name, follow_symlinks=False).hex()
            for name in os.listxattr(path, follow_symlinks=False)}


def facts(root, path, status, groups):
    """Everything that is compared, as a flat dictionary."""
    full = os.path.join(root, path)
    mode = status.st_mode
    known = {
        "type": stat.filemode(mode)[0],
        "mode": oct(stat.S_IMODE(mode)),
        "owner": f"{status.st_uid}:{status.st_gid}",
        "mtime": status.st_mtime_ns,
        "xattrs": xattrs(full),
    }
    if not stat.S_ISDIR(mode):
        known["links"] = status.st_nlink
        known["linked with"] = groups[status.st_ino] if status.st_nlink > 1 else None
    if stat.S_ISREG(mode):
        known["size"] = status.st_size
        known["content"] = digest(full)
    elif stat.S_ISLNK(mode):
        known["target"] = os.readlink(full)
    elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        known["device"] = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    return known


def link_groups(found):
    """Inode -> the first of its names, the same in both trees when the same names are links."""
    groups = {}
    for path in sorted(found):
        groups.setdefault(found[path].st_ino, path)
    return groups


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("expected")
    parser.add_argument("actual")
    parser.add_argument("--ignore", action="append", default=[])
    parser.add_argument("--ignore-mtime", action="append", default=[])
    parser.add_argument("--any-folder-mtime", action="store_true")
    parser.add_argument("--devices-apart", action="store_true")
    options = parser.parse_args()
    trees = [entries(options.expected), entries(options.actual)]
    groups = [link_groups(tree) for tree in trees]
    differences = []
    for path in sorted(set(trees[0]) | set(trees[1])):
        if path in options.ignore:
            continue
        if path not in trees[0] or path not in trees[1]:
            differences.append(f"{path}: only in {'actual' if path in trees[1] else 'expected'}")
            continue
        expected = facts(options.expected, path, trees[0][path], groups[0])
        actual = facts(options.actual, path, trees[1][path], groups[1])
        if path in options.ignore_mtime or (
                options.any_folder_mtime and expected["type"] == actual["type"] == "d"):
            del expected["mtime"], actual["mtime"]
        if options.devices_apart and expected["type"] == actual["type"] and actual["type"] in "cbp":
            for known in (expected, actual):
                del known["links"], known["linked with"]
        for name in sorted(set(expected) | set(actual)):
            if expected.get(name) != actual.get(name):
                differences.append(
                    f"{path}: {name}: expected {json.dumps(expected.get(name))[:200]}, "
                    f"actual {json.dumps(actual.get(name))[:200]}")
    for line in differences[:MOST_LINES]:
        print(line)
    print(f"{len(trees[0])} entries compared, {len(differences)} differences")
    sys.exit(1 if differences else 0)


main()
