// Says what a picture shows, with the small world's captioner: caption_file PICTURE
#include <readback/base/error.h>
#include <readback/base/machine.h>
#include <readback/caption/open.h>
#include <readback/image/codec.h>

#include <iostream>

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: caption_file PICTURE\n";
    return 2;
  }
  const auto captioner = readback::caption::open("emoji-scenes/captioner", readback::open_machine({}));
  readback::caption::Request request;
  request.image = readback::image::load(argv[1], readback::image::Alpha::kOnWhite);
  request.sample = argv[1];
  const auto captions = captioner->caption({&request, 1}, {});
  std::cout << captions.front().value().front().text << "\n";
  return 0;
} catch (const readback::Error& error) {
  std::cerr << "caption_file: " << error.what() << "\n";
  return 1;
}
