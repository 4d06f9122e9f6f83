// Ids of images in the files of other programs.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace readback::data {

// The id that a JSON value says: 7, 7.0 and "7" are one id. Every reader of ids goes through here.
// Errors: DataError naming `where` for anything but a string or a whole number.
std::string id_of(const nlohmann::json& value, const std::string& where);

// What the name of an image's file and an id that may be meant for it are compared by: without the extension of a
// picture, and a number without leading zeros ("000000000790.jpg", "COCO_val2014_000000000790.jpg" and "790" are the
// same image, as in COCO).
std::string image_key(const std::filesystem::path& name);

}  // namespace readback::data
