// The formats of record files that several layouts share.
#pragma once
#include <memory>

#include "readback/data/columns.h"
#include "readback/data/record_file.h"

namespace readback::data {

// A JSON object a line; blank lines are passed over.
std::unique_ptr<RecordFormat> make_json_lines(Columns columns, std::filesystem::path images);

// A row a line, under a header that names its columns.
std::unique_ptr<RecordFormat> make_table(Header header, std::filesystem::path images);
// Two columns without a header, a picture's name and a caption.
std::unique_ptr<RecordFormat> make_pairs(char delimiter, std::filesystem::path images);
// Reads the file's first line. Errors: told to `problems`, and nothing comes back, where it is no header and the file
// has no pairs.
std::unique_ptr<RecordFormat> make_table_of(const std::filesystem::path& path, const Columns& columns,
                                            const std::filesystem::path& images, Problems& problems);

// Flickr8k's and Flickr30k's NAME.jpg#0<tab>caption.
std::unique_ptr<RecordFormat> make_flickr_tokens(std::filesystem::path images);
// Whether a line is one of these.
bool is_flickr_token(std::string_view line);

}  // namespace readback::data
