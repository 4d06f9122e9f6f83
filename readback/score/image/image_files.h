// Image files that belong together by their names.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/data/caption_file.h"
#include "readback/image/image.h"

namespace readback::score {

// The pictures of a folder (image::has_image_name), sorted by name, or of a data set's SPEC that begins with its
// layout's name (data/dataset.h), in its order. torch-fidelity takes .png, .jpg and .jpeg only. Errors: DataError when
// there are none, and for a picture of a kind that is not read.
std::vector<std::filesystem::path> list_images(const std::filesystem::path& folder);

struct MatchedImages {
  std::vector<std::string> ids;  // file names without their extensions
  std::vector<std::filesystem::path> generated, real;
  std::vector<std::string> left_out;  // ids that only one folder has
};
// By id. What only one folder has is an error that lists it, unless `allow_missing` leaves it out.
// Errors: DataError, also for two files of one id in a folder and when nothing matches.
MatchedImages match_images(const std::filesystem::path& generated, const std::filesystem::path& real,
                           bool allow_missing);

struct CaptionedImages {
  std::vector<std::string> ids;  // the captions' ids
  std::vector<std::filesystem::path> images;
  std::vector<std::vector<std::string>> captions, references;  // references: empty lists where none were given
  std::vector<std::string> left_out;  // ids of captions without image or references, and of images without caption
  bool by_line = false;  // ids were line numbers, that is, nothing but the order said which caption is whose
};
// A caption's id is the image's file name, with or without extension, or the number that this name is ("790" is
// 000000000790.jpg, as in COCO). Captions a line each, which have no ids, go with the images in the order of their
// names if there are as many of both. An image's references are those of all its ids. Errors: as match_images.
CaptionedImages match_captions(const std::filesystem::path& images, const data::CaptionFile& captions,
                               const std::optional<data::CaptionFile>& references, bool allow_missing);

// Decoded on several threads, each file once; one entry a path. Transparent pictures are laid on white, as
// transformers gives them to CLIP and DINO; PSNR and SSIM compare the same pixels. Errors: DataError.
std::vector<std::shared_ptr<const image::Image>> load_images(std::span<const std::filesystem::path> paths);

}  // namespace readback::score
