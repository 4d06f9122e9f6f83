// Captions in files, by the id of what they describe: what metrics of captions and of texts read.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace readback::data {

struct CaptionFile {
  std::string source;                              // the path, or several of them
  std::vector<std::string> ids;                    // each once, in the file's order
  std::vector<std::vector<std::string>> captions;  // of each id, at least one; a caption may be empty
  std::vector<std::string> domains;                // of each id, "" without one; empty where no id has one
};

// Told apart by content. Ids are strings or whole numbers, compared by id_of (ids.h):
//   COCO results      [{"image_id": 1, "caption": "…"}, …]
//   COCO annotations  {"annotations": [{"image_id": 1, "caption": "…"}, …], …}
//   by id             {"1": "…", "2": ["…", …], …}
//   JSON Lines        {"id": 1, "caption": "…"}, or `image_id`, `image`, `file_name` with `text`, or `captions`,
//                     `references` with a list (of texts, or of objects with a `text`, as `readback caption` prints)
//   Karpathy's splits {"images": [{"cocoid": 1, "sentences": [{"raw": "…"}, …]}, …]}, of every split; the id is COCO's,
//                     or the file's name
//   a table           CSV, TSV or between bars, with a header that names a caption's column and a picture's or an id's;
//                     pairs of a picture's file name and a caption without a header; Flickr's NAME.jpg#0<tab>caption
//   anything else     a caption a line; its id is the line's number, and a blank line is an empty caption. In JSON
//                     Lines blank lines are passed over
// Domains are read from COCO annotations' images[].domain, as NoCaps has them, from a record's `domain`, and from data
// sets. A folder, or a SPEC that begins with a layout's name (data/dataset.h), is read as a data set. What looks like
// columns of names and captions and cannot be read so is an error, never text. Errors: DataError that says where (file
// and line), also for bytes that are not UTF-8 and for a file without captions.
CaptionFile read_caption_file(const std::filesystem::path& path);
// Several files as one: the captions of an id one after the other, as when each file holds one reference a line.
CaptionFile read_caption_files(std::span<const std::string> paths);

// Candidates with their references, in the references' order.
struct MatchedCaptions {
  std::vector<std::string> ids;
  std::vector<std::string> candidates;
  std::vector<std::vector<std::string>> references;
  std::vector<std::string> left_out;  // ids that only one side has
  std::vector<std::string> domains;   // the references', as there
};

// By id, or where the files have no id in common by the pictures that their ids name (ids.h, image_key). What only one
// side has is an error that lists it, unless `allow_missing` leaves it out. Errors: DataError, also for a second
// candidate of an id and when nothing matches.
MatchedCaptions match_captions(const CaptionFile& candidates, const CaptionFile& references, bool allow_missing);

// "one, two, three and 97 more": ids in a message.
std::string listed(const std::vector<std::string>& ids);

}  // namespace readback::data
