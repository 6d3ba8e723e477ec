#include <gtest/gtest.h>

#include "host_servers.h"
#include "loop.h"
#include "requests.h"
#include "table.h"

using namespace gantry::dns;

namespace {

Address v4(uint8_t third, uint8_t last) { return {.v6 = false, .bytes = {10, 0, third, last}}; }

class DnsTable : public testing::Test {
 protected:
  void SetUp() override {
    table.put_network("n1", {"Red", {{v4(1, 0), 24}}});
    table.put_network("n2", {"blue", {{v4(2, 0), 24}}});
    table.put_endpoint("e1", {"n1", "web", v4(1, 2), std::nullopt, {"web", "www"}});
    table.put_endpoint("e2", {"n1", "web2", v4(1, 3), std::nullopt, {"web2", "www"}});
    table.put_endpoint("e3", {"n2", "web", v4(2, 2), std::nullopt, {"web"}});
    table.put_sandbox("s1", {{{"n1", {{"store", "web2"}}}}, true, {}});
    table.put_sandbox("s2", {{{"n2", {}}, {"n1", {}}}, true, {}});
  }
  std::vector<Address> find(const char* sandbox, const char* name) const {
    std::vector<Address> addresses;
    for (const Endpoint* endpoint : table.find(*table.sandbox(sandbox), name)) addresses.push_back(*endpoint->v4);
    return addresses;
  }
  Table table;
};

using Addresses = std::vector<Address>;

}  // namespace

TEST_F(DnsTable, AnswersWithinTheNetworksOfTheSandbox) {
  EXPECT_EQ(find("s1", "web"), (Addresses{v4(1, 2)}));
  EXPECT_EQ(find("s1", "web.red"), (Addresses{v4(1, 2)}));
  EXPECT_EQ(find("s1", "web.blue"), Addresses{});
  EXPECT_EQ(find("s1", "www"), (Addresses{v4(1, 2), v4(1, 3)}));
  EXPECT_EQ(find("s2", "web"), (Addresses{v4(2, 2)}));
  EXPECT_EQ(find("s2", "web.red"), (Addresses{v4(1, 2)}));
}

TEST_F(DnsTable, KeepsLinksToTheirSandbox) {
  EXPECT_EQ(find("s1", "store"), (Addresses{v4(1, 3)}));
  EXPECT_EQ(find("s2", "store"), Addresses{});
}

TEST_F(DnsTable, KnowsWhoseAddressItIs) {
  const Sandbox& sandbox = *table.sandbox("s1");
  EXPECT_EQ(table.owner(sandbox, v4(1, 2)).name, "web.Red");
  EXPECT_TRUE(table.owner(sandbox, v4(1, 77)).ours);
  EXPECT_EQ(table.owner(sandbox, v4(1, 77)).name, "");
  EXPECT_FALSE(table.owner(sandbox, v4(2, 2)).ours);
}

TEST_F(DnsTable, ForgetsWhatIsTakenAwayOrNotToldAgain) {
  table.drop_endpoint("e1");
  table.drop_endpoint("e1");
  EXPECT_EQ(find("s1", "www"), (Addresses{v4(1, 3)}));
  table.put_endpoint("e2", {"n1", "web2", v4(1, 9), std::nullopt, {"renamed"}});
  EXPECT_EQ(find("s1", "web2"), Addresses{});
  EXPECT_EQ(find("s1", "renamed"), (Addresses{v4(1, 9)}));
  table.mark();
  table.put_network("n1", {"red", {}});
  table.put_sandbox("s1", {{{"n1", {}}}, true, {}});
  table.sweep();
  EXPECT_EQ(table.sandbox("s2"), nullptr);
  EXPECT_EQ(find("s1", "renamed"), Addresses{});
}

TEST(DnsRequests, CarriesOutLinesAndSaysWhichIsWrong) {
  gantry::Loop loop;
  DnsRequests requests(loop);
  EXPECT_EQ(requests.run("hello\n", {}), "ok 2");
  EXPECT_EQ(requests.run("all\nnetwork n red 10.0.0.0/24 fd00::/64\nendpoint e n web 10.0.0.2 fd00::2 Web\n"
                         "sandbox s none n=Store:web\nsandbox t 10.0.0.9 n\nend\n",
                         {}),
            "ok");
  const Table& table = requests.table();
  ASSERT_NE(table.sandbox("s"), nullptr);
  EXPECT_EQ(table.find(*table.sandbox("s"), "store").size(), 1u);
  EXPECT_FALSE(table.sandbox("s")->forwards);
  ASSERT_NE(table.sandbox("t"), nullptr);
  EXPECT_EQ(table.sandbox("t")->servers.size(), 1u);
  for (const char* wrong :
       {"network n\n", "endpoint e n web 10.0.0 - x\n", "sandbox s 1.2.3 n\n", "sockets s\n", "sources s 1 0\n",
        "sources s x 0\n", "what\n", "network n red 10.0.0.0/33\n", "sandbox s host n=x\n"}) {
    EXPECT_TRUE(requests.run(wrong, {}).starts_with("error line 1")) << wrong;
  }
}

TEST(DnsHostServers, ReadsTheFirstThree) {
  auto servers = parse_resolv_conf(
      "# nameserver 1.1.1.1\nsearch a\nnameserver 10.0.0.1\n nameserver fd00::1 \nnameserver fe80::1%eth0\nnameserver "
      "10.0.0.2\nnameserver 10.0.0.3\n");
  ASSERT_EQ(servers.size(), 3u);
  EXPECT_EQ(servers[1].address.ss_family, AF_INET6);
}
