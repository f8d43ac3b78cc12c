// Tries what its first argument names, and prints how that went: a value, or the name of an error.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int result(const char *name, long value) {
    printf("%s%s\n", name, value < 0 ? strerrorname_np(errno) : "allowed");
    return 0;
}

static int is(const char *probe, const char *name) { return strcmp(probe, name) == 0; }

static int list(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) return result("", -1);
    for (struct dirent *entry; (entry = readdir(directory));)
        if (entry->d_name[0] != '.') printf("%s\n", entry->d_name);
    return 0;
}

static int capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) return result("", -1);
    unsigned bounding = 0;
    for (int capability = 0; capability < 41; capability++) bounding |= prctl(PR_CAPBSET_READ, capability) != 0;
    printf("%x %x %x\n", data[0].permitted | data[1].permitted, data[0].effective | data[1].effective, bounding);
    return 0;
}

static int abstract_socket(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path + 1, name);
    int end = socket(AF_UNIX, SOCK_STREAM, 0);
    socklen_t length = offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name);
    return result("", connect(end, (struct sockaddr *)&address, length));
}

static int processes(void) {
    int count = 1;
    for (; count < 1000; count++) {
        int child = fork();
        if (child < 0) break;
        if (child == 0) pause();
    }
    printf("%d\n", count);
    fflush(stdout);
    _exit(0);
}

static int memory(void) {
    int count = 0;
    while (count < 1 << 16 &&
           mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED)
        count++;
    printf("%d\n", count);
    return 0;
}

static int descriptors(void) {
    for (int descriptor = 0; descriptor < 4096; descriptor++)
        if (fcntl(descriptor, F_GETFD) >= 0) printf("%d\n", descriptor);
    return 0;
}

static int daemonize(void) {
    if (fork()) {
        pause();
    }
    setsid();
    if (fork()) _exit(0);
    printf("%d\n", getppid() != 0);
    fflush(stdout);
    for (;;) sleep(1000);
}

static int system_call(const char *name) {
    long none = 0;
    if (is(name, "mount")) return result("", syscall(SYS_mount, "tmpfs", "/", "tmpfs", 0, 0));
    if (is(name, "umount")) return result("", syscall(SYS_umount2, "/tree", 0));
    if (is(name, "unshare")) return result("", syscall(SYS_unshare, CLONE_NEWUSER));
    if (is(name, "setns")) return result("", syscall(SYS_setns, 0, 0));
    if (is(name, "clone-namespaces")) return result("", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    if (is(name, "clone3")) return result("", syscall(SYS_clone3, &none, 64));
    if (is(name, "ptrace")) return result("", syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0));
    if (is(name, "keyctl")) return result("", syscall(SYS_keyctl, 0, -3, 0));
    if (is(name, "bpf")) return result("", syscall(SYS_bpf, 0, &none, 64));
    if (is(name, "perf")) return result("", syscall(SYS_perf_event_open, &none, 0, -1, -1, 0));
    if (is(name, "userfaultfd")) return result("", syscall(SYS_userfaultfd, 1));
    if (is(name, "io_uring")) return result("", syscall(SYS_io_uring_setup, 1, &none));
    if (is(name, "module")) return result("", syscall(SYS_finit_module, 0, "", 0));
    if (is(name, "mknod")) return result("", syscall(SYS_mknodat, AT_FDCWD, "/node", S_IFCHR, 0));
    if (is(name, "chroot")) return result("", syscall(SYS_chroot, "/tree"));
    if (is(name, "setuid")) return result("", syscall(SYS_setuid, 0));
    if (is(name, "personality")) return result("", syscall(SYS_personality, 0x0040000));
    if (is(name, "outlive")) return result("", syscall(SYS_prctl, PR_SET_PDEATHSIG, 0, 0, 0, 0));
    if (is(name, "type")) return result("", ioctl(0, TIOCSTI, "x"));
    if (is(name, "type-high-bits")) return result("", syscall(SYS_ioctl, 0, 0x100000000 | TIOCSTI, "x"));
#ifdef __x86_64__
    if (is(name, "x32")) return result("", syscall(0x40000000 | SYS_getpid));
    if (is(name, "i386")) {
        long number = 20;
        __asm__ volatile("int $0x80" : "+a"(number));
        return result("", number);
    }
#endif
    printf("ENOSYS\n");
    return 0;
}

int main(int count, char **arguments) {
    const char *probe = arguments[1], *what = count > 2 ? arguments[2] : "";
    if (is(probe, "list")) return list(what);
    if (is(probe, "open")) return result("", open(what, O_RDONLY));
    if (is(probe, "create")) return result("", open(what, O_CREAT | O_WRONLY, 0644));
    if (is(probe, "mkdir")) return result("", mkdir(what, 0755));
    if (is(probe, "symlink")) return result("", symlink("/", what));
    if (is(probe, "chmod")) return result("", chmod(what, 0777));
    if (is(probe, "socket")) return result("", socket(atoi(what), SOCK_STREAM, 0));
    if (is(probe, "abstract")) return abstract_socket(what);
    if (is(probe, "kill")) return result("", kill(atoi(what), SIGKILL));
    if (is(probe, "kill-parent")) return result("", kill(getppid() ? getppid() : 999999, SIGKILL));
    if (is(probe, "call")) return system_call(what);
    if (is(probe, "capabilities")) return capabilities();
    if (is(probe, "processes")) return processes();
    if (is(probe, "memory")) return memory();
    if (is(probe, "descriptors")) return descriptors();
    if (is(probe, "daemon")) return daemonize();
    if (is(probe, "ids")) return printf("%d %d %d %d\n", getuid(), getgid(), getpid(), getsid(0)) < 0;
    if (is(probe, "host")) {
        struct utsname name;
        uname(&name);
        return printf("%s\n", name.nodename) < 0;
    }
    if (is(probe, "environment")) {
        for (char **variable = environ; *variable; variable++) printf("%s\n", *variable);
        return 0;
    }
    if (is(probe, "fill")) {
        int file = open(what, O_CREAT | O_WRONLY, 0644);
        signal(SIGXFSZ, SIG_IGN);
        long size = 0;
        for (long written; (written = write(file, arguments, 256)) > 0;) size += written;
        return printf("%ld\n", size) < 0;
    }
    return 1;
}
