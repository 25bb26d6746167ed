/*
 * The floor under every server of prices: the least that the kernel asks for.
 *
 *     floor PORT CLIENTS FRAMES RATE
 *
 * Takes CLIENTS websockets on 127.0.0.1, then hands each of them one write of FRAMES ready price events,
 * RATE times a second. Nothing is parsed, looked up or encoded; only the timestamps are set, once a round.
 * A client that cannot take a write loses it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FRAMES = 128, MAX_FRAME = 512, STAMP_DIGITS = 13 };

static const char UPGRADED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static char batch[MAX_FRAMES * MAX_FRAME];
static char *stamps[MAX_FRAMES];
static size_t batch_size;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void append_price(int index) {
    char text[MAX_FRAME];
    int size = snprintf(text, sizeof text,
                        "42/market-data,[\"price\",{\"symbol\":\"SYM%d\","
                        "\"bestBid\":{\"price\":150.25,\"size\":100.0,\"source\":\"synthetic\"},"
                        "\"bestAsk\":{\"price\":150.27,\"size\":200.0,\"source\":\"synthetic\"},"
                        "\"midPrice\":150.26,\"spread\":0.02,\"spreadBps\":1.331,\"timestamp\":%0*d}]",
                        index, STAMP_DIGITS, 0);
    uint8_t head[4] = {0x81, 126, (uint8_t)(size >> 8), (uint8_t)size};
    char *payload = batch + batch_size + sizeof head;
    memcpy(batch + batch_size, head, sizeof head);
    memcpy(payload, text, (size_t)size);
    stamps[index] = payload + size - STAMP_DIGITS - 2; /* two characters close the object and the list */
    batch_size += sizeof head + (size_t)size;
}

static void set_stamps(int frames) {
    char digits[32];
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    snprintf(digits, sizeof digits, "%0*lld", STAMP_DIGITS, at.tv_sec * 1000LL + at.tv_nsec / 1000000);
    for (int i = 0; i < frames; i++) memcpy(stamps[i], digits, STAMP_DIGITS);
}

static int listen_on(int port) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (struct sockaddr *)&here, sizeof here) || listen(fd, 4096)) fail("listen");
    return fd;
}

static int take_client(int listener) {
    char request[4096];
    int yes = 1, fd = accept(listener, NULL, NULL);
    if (fd < 0) fail("accept");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (read(fd, request, sizeof request) <= 0) fail("read");
    if (write(fd, UPGRADED, sizeof UPGRADED - 1) != (ssize_t)(sizeof UPGRADED - 1)) fail("write");
    return fd;
}

static int timer_of(double rate) {
    double seconds = 1 / rate;
    struct timespec step = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    struct itimerspec pace = {.it_interval = step, .it_value = step};
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    if (fd < 0 || timerfd_settime(fd, 0, &pace, NULL)) fail("timer");
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fputs("usage: floor PORT CLIENTS FRAMES RATE\n", stderr);
        return 2;
    }
    int clients = atoi(argv[2]), frames = atoi(argv[3]);
    double rate = atof(argv[4]);
    if (clients < 1 || frames < 1 || frames > MAX_FRAMES || rate <= 0) return 2;
    int listener = listen_on(atoi(argv[1]));
    int *fds = calloc((size_t)clients, sizeof *fds);
    for (int i = 0; i < frames; i++) append_price(i);
    for (int i = 0; i < clients; i++) fds[i] = take_client(listener);
    int timer = timer_of(rate);
    for (uint64_t rounds; read(timer, &rounds, sizeof rounds) == (ssize_t)sizeof rounds;) {
        set_stamps(frames);
        for (int i = 0; i < clients; i++)
            if (send(fds[i], batch, batch_size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EPIPE) return 0;
    }
    return 0;
}
