// Verifies layers by the stargz project's own reader: the table against its digest, and each chunk of each file.
//
//	verify_estargz BLOB TOC_DIGEST
//
// Prints how many files and chunks there were, and the largest chunk in bytes.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: verify_estargz BLOB TOC_DIGEST")
	}
	blob, err := os.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	size, err := blob.Seek(0, io.SeekEnd)
	if err != nil {
		log.Fatal(err)
	}
	reader, err := estargz.Open(io.NewSectionReader(blob, 0, size))
	if err != nil {
		log.Fatalf("no eStargz: %v", err)
	}
	verifier, err := reader.VerifyTOC(digest.Digest(os.Args[2]))
	if err != nil {
		log.Fatalf("the table is another: %v", err)
	}
	seen := &seen{reader: reader, verifier: verifier}
	root, ok := reader.Lookup("")
	if !ok {
		log.Fatal("the table has no root")
	}
	if err := seen.directory("", root); err != nil {
		log.Fatal(err)
	}
	if seen.landmarks != 1 {
		log.Fatalf("%d landmarks", seen.landmarks)
	}
	fmt.Println(seen.files, seen.chunks, seen.largest)
}

// What was verified.
type seen struct {
	reader    *estargz.Reader
	verifier  estargz.TOCEntryVerifier
	files     int
	chunks    int
	largest   int64
	landmarks int
}

func (seen *seen) directory(path string, directory *estargz.TOCEntry) (err error) {
	directory.ForeachChild(func(name string, entry *estargz.TOCEntry) bool {
		if path == "" && (name == estargz.PrefetchLandmark || name == estargz.NoPrefetchLandmark) {
			seen.landmarks++
		}
		child := path + name
		switch entry.Type {
		case "dir":
			err = seen.directory(child+"/", entry)
		case "reg":
			err = seen.file(child, entry)
		}
		return err == nil
	})
	return err
}

// Reads a file chunk by chunk, each on its own, as a snapshotter does.
func (seen *seen) file(path string, file *estargz.TOCEntry) error {
	seen.files++
	content, err := seen.reader.OpenFile(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for at := int64(0); at < file.Size; {
		chunk, ok := seen.reader.ChunkEntryForOffset(path, at)
		if !ok || chunk.ChunkOffset != at {
			return fmt.Errorf("%s: no chunk begins at %d", path, at)
		}
		verifier, err := seen.verifier.Verifier(chunk)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		section := io.NewSectionReader(content, at, chunk.ChunkSize)
		if _, err := io.CopyBuffer(verifier, struct{ io.Reader }{section}, make([]byte, chunk.ChunkSize)); err != nil {
			return fmt.Errorf("%s at %d: %w", path, at, err)
		}
		if !verifier.Verified() {
			return fmt.Errorf("%s at %d: the chunk has another digest", path, at)
		}
		seen.chunks++
		seen.largest = max(seen.largest, chunk.ChunkSize)
		at += chunk.ChunkSize
	}
	return nil
}

func max(a, b int64) int64 {
	if a > b {
		return a
	}
	return b
}
