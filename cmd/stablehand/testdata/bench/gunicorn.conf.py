import glob

versions = [open(file).read() for file in glob.glob("version.*")]
raw_env = ["VERSION=v%d" % max(int(version or "0") for version in versions)]
