// Package envfile reads variables from files of NAME=value lines, and from
// directories with a file for each variable, as Kubernetes mounts a ConfigMap or a
// Secret.
//
// A file is read as go-envparse does. There is a variable on each line; "export "
// may stand before its name, and blanks around name and value are dropped. What is
// in 'single quotes' stands for itself, and in "double quotes" there are JSON's
// escapes: \" \\ \/ \b \f \n \r \t \uXXXX. Elsewhere a backslash is a backslash, and
// nowhere does $ mean anything. A # begins a comment wherever it is in no quotes,
// within a word, too: a password with a # needs them. A value ends with its line,
// so the end of a line in it is written \n in double quotes. The last line of a name
// wins.
//
// In a directory each regular file is a variable, also behind a symlink, and its
// content the value as it is, without one newline at the end: editors leave that,
// and so does kubectl create secret --from-file of what they wrote. Hidden files and
// sub-directories are none. Where there is a symlink ..data, what is read is behind
// it, and of one version, whatever the kubelet puts in its place meanwhile.
//
// A name is of letters of ASCII, digits and _, and begins with no digit. Names that
// begin with STABLEHAND_ are refused: they are for stablehand's own environment.
//
// All that is wrong is told at once, a line each: the file and the line, what is
// wrong, and what would be right. Nothing of a value or a line is ever in there,
// since it may be a secret.
//
// It knows nothing of gunicorn, nor of who gets the variables.
package envfile
