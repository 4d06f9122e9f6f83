// Compiled into every program that links readback::readback: readback's assets lie in this file's folder.
namespace readback {

[[gnu::weak, gnu::visibility("default")]] const char* assets_place();
const char* assets_place() { return __FILE__; }

}  // namespace readback
