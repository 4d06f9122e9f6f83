// The functions of the table in data/registry.cpp: one pair for each file of this folder.
#pragma once
#include <memory>

namespace readback::data {

class Dataset;
struct Look;
struct Opening;

using OpenLayout = std::unique_ptr<Dataset>(const Opening& opening);
OpenLayout open_emoji_scenes, open_folder, open_tree, open_imagefolder, open_coco, open_nocaps, open_karpathy,
    open_lavis, open_flickr, open_json_lines, open_webdataset, open_table, open_texts;

using RecogniseLayout = bool(const Look& look);
RecogniseLayout is_folder, is_tree, is_imagefolder, is_coco, is_nocaps, is_karpathy, is_lavis, is_flickr, is_json_lines,
    is_webdataset, is_table, is_texts;

}  // namespace readback::data
