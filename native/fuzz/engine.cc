// Drives one target where libFuzzer is not at hand: it is clang's, and everything here is built by gcc. Takes the
// target's interface from it (LLVMFuzzerTestOneInput), so that a target runs with either.
//
//   TARGET [-max_total_time=SECONDS] [-runs=N] [-seed=N] [-max_len=BYTES] CORPUS...
//
// CORPUS is files and folders. All of them run once, then changed copies of them do; a copy that reaches code that none
// before it did is kept (in memory) and changed further. The input of a failure is left as crash-HASH in the working
// directory, and running the target on that file alone repeats it.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
// The sanitizers' own; their header is not installed for every compiler that reads this.
extern "C" void __sanitizer_set_death_callback(void (*callback)());

namespace {

using Input = std::vector<std::uint8_t>;

constexpr std::size_t kEdges = 1u << 16;
std::uint8_t edges[kEdges];
std::uint8_t seen[kEdges];
std::size_t last_place = 0;

Input current;

void keep_crash() {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::uint8_t byte : current) hash = (hash ^ byte) * 0x100000001b3u;
  char name[40];
  std::snprintf(name, sizeof name, "crash-%016llx", static_cast<unsigned long long>(hash));
  int fd = ::open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0 && ::write(fd, current.data(), current.size()) >= 0) std::fprintf(stderr, "the input is in %s\n", name);
  ::close(fd);
}

void on_abort(int) {
  keep_crash();
  ::signal(SIGABRT, SIG_DFL);
  ::raise(SIGABRT);
}

/// Whether it reached what nothing before it had.
bool run(const Input& input) {
  std::memset(edges, 0, sizeof edges);
  last_place = 0;
  current = input;
  // On the heap and as long as it is, so that a sanitizer sees one byte too many.
  LLVMFuzzerTestOneInput(current.data(), current.size());
  bool fresh = false;
  for (std::size_t i = 0; i < kEdges; ++i) {
    // How often, roughly: once, some times, many times.
    std::uint8_t bucket = edges[i] == 0 ? 0 : edges[i] == 1 ? 1 : edges[i] < 8 ? 2 : edges[i] < 64 ? 4 : 8;
    if (bucket & ~seen[i]) {
      seen[i] |= bucket;
      fresh = true;
    }
  }
  return fresh;
}

class Mutator {
 public:
  Mutator(std::uint64_t seed, std::size_t longest) : random_(seed), longest_(longest) {}

  Input change(const std::vector<Input>& corpus) {
    Input input = corpus[below(corpus.size())];
    for (std::size_t times = 1 + below(5); times > 0; --times) step(input, corpus[below(corpus.size())]);
    if (input.size() > longest_) input.resize(longest_);
    return input;
  }

 private:
  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

  void step(Input& input, const Input& other) {
    static constexpr std::uint64_t kNumbers[] = {0,      1,          0x7f,       0x80,       0xff, 0x7fff,
                                                 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull};
    std::size_t at = below(input.size() + 1);
    std::size_t length =
        std::min<std::size_t>(1 + below(below(8) == 0 ? 512 : 16), input.size() - std::min(at, input.size()));
    auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (below(8)) {
      case 0:  // one bit
        if (at < input.size()) input[at] ^= static_cast<std::uint8_t>(1u << below(8));
        break;
      case 1:  // one byte
        if (at < input.size()) input[at] = static_cast<std::uint8_t>(random_());
        break;
      case 2:
        input.erase(place, place + static_cast<std::ptrdiff_t>(length));
        break;
      case 3: {
        Input piece(place, place + static_cast<std::ptrdiff_t>(length));
        input.insert(input.begin() + static_cast<std::ptrdiff_t>(below(input.size() + 1)), piece.begin(), piece.end());
        break;
      }
      case 4: {  // a number at its limits
        std::uint64_t number = kNumbers[below(std::size(kNumbers))];
        std::size_t bytes = std::min<std::size_t>(std::size_t{1} << below(4), input.size() - at);
        if (bytes > 0) std::memcpy(input.data() + at, &number, bytes);
        break;
      }
      case 5: {  // digits, which texts have where binary formats have numbers
        auto digit = std::find_if(place, input.end(), [](std::uint8_t c) { return c >= '0' && c <= '9'; });
        static constexpr const char* kTexts[] = {"-1",    "0",  "4294967295", "4294967296", "18446744073709551616",
                                                 "1e999", "0x7"};
        std::string text = kTexts[below(std::size(kTexts))];
        if (digit != input.end()) {
          digit = input.erase(digit);
          input.insert(digit, text.begin(), text.end());
        }
        break;
      }
      case 6: {  // a piece of another
        std::size_t from = below(other.size() + 1), count = std::min<std::size_t>(below(256), other.size() - from);
        input.insert(place, other.begin() + static_cast<std::ptrdiff_t>(from),
                     other.begin() + static_cast<std::ptrdiff_t>(from + count));
        break;
      }
      default:  // over the end of another
        if (at < input.size()) {
          input.resize(at);
          std::size_t from = std::min(at, other.size());
          input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        }
    }
  }

  std::mt19937_64 random_;
  std::size_t longest_;
};

void read_into(std::vector<Input>& corpus, const std::filesystem::path& path) {
  if (std::filesystem::is_directory(path)) {
    std::vector<std::filesystem::path> entries;
    for (const auto& entry : std::filesystem::directory_iterator(path)) entries.push_back(entry.path());
    std::sort(entries.begin(), entries.end());
    for (const auto& entry : entries) read_into(corpus, entry);
    return;
  }
  std::ifstream file(path, std::ios::binary);
  corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

}  // namespace

extern "C" void __sanitizer_cov_trace_pc() {
  auto place = reinterpret_cast<std::size_t>(__builtin_return_address(0));
  std::size_t mixed = (place ^ (place >> 16)) % kEdges;
  std::uint8_t& count = edges[(mixed ^ last_place) % kEdges];
  if (count < 255) ++count;
  last_place = mixed >> 1;
}

int main(int argc, char** argv) {
  double seconds = 0;
  std::uint64_t runs = 0, seed = std::random_device()();
  std::size_t longest = 1u << 16;
  std::vector<Input> corpus;
  for (int i = 1; i < argc; ++i) {
    std::string word = argv[i];
    auto equals = word.find('=');
    std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (word.rfind("-max_total_time=", 0) == 0) {
      seconds = std::stod(value);
    } else if (word.rfind("-runs=", 0) == 0) {
      runs = std::stoull(value);
    } else if (word.rfind("-seed=", 0) == 0) {
      seed = std::stoull(value);
    } else if (word.rfind("-max_len=", 0) == 0) {
      longest = std::stoull(value);
    } else if (word[0] == '-') {
      std::fprintf(stderr, "no such flag: %s\n", word.c_str());
      return 2;
    } else {
      read_into(corpus, word);
    }
  }
  __sanitizer_set_death_callback(keep_crash);
  ::signal(SIGABRT, on_abort);
  if (corpus.empty()) corpus.emplace_back();
  for (const Input& input : corpus) run(input);
  std::size_t given = corpus.size();
  std::printf("seed %llu, %zu inputs\n", static_cast<unsigned long long>(seed), given);

  Mutator mutator(seed, longest);
  std::uint64_t done = 0;
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (done < runs || std::chrono::steady_clock::now() < end) {
    Input input = mutator.change(corpus);
    if (run(input)) corpus.push_back(std::move(input));
    ++done;
  }
  std::size_t reached = kEdges - static_cast<std::size_t>(std::count(std::begin(seen), std::end(seen), 0));
  std::printf("%llu runs, %zu inputs kept, %zu edges\n", static_cast<unsigned long long>(done), corpus.size() - given,
              reached);
  return 0;
}
