/* Preloaded into Janus for the benchmark: getifaddrs() shows the loopback interface as an ordinary
 * one and every other as down. Janus leaves out loopback when it gathers candidates and skips what
 * is down, so with this it can be measured on 127.0.0.1, and on nothing else. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

int getifaddrs(struct ifaddrs **list) {
    static int (*real)(struct ifaddrs **);
    if (!real) real = dlsym(RTLD_NEXT, "getifaddrs");
    int failed = real(list);
    if (failed) return failed;
    for (struct ifaddrs *at = *list; at; at = at->ifa_next) {
        if (at->ifa_name && !strcmp(at->ifa_name, "lo") && at->ifa_addr
            && at->ifa_addr->sa_family == AF_INET)
            at->ifa_flags &= ~IFF_LOOPBACK;
        else
            at->ifa_flags &= ~IFF_UP;
    }
    return 0;
}
