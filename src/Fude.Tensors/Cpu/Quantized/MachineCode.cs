using System.Runtime.InteropServices;
using Iced.Intel;
using static Fude.Tensors.Wording;

namespace Fude.Tensors;

/// <summary>Routines in instructions that .NET has no names for: assembled once, into memory of their own.</summary>
/// <remarks>The memory is written before it may be run and cannot be written from then on. It stays until the process ends. A routine keeps
/// to the platform's calling convention, never calls back and never throws.</remarks>
internal static unsafe partial class MachineCode
{
    private const int ProtectRead = 1, ProtectWrite = 2, ProtectExecute = 4, PrivateAnonymous = 0x22;                // Linux's mman.h
    private const uint MemCommitReserve = 0x3000, MemRelease = 0x8000, PageReadWrite = 4, PageExecuteRead = 0x20;    // Windows' winnt.h

    /// <summary>Where a routine's first arguments are; a routine may change them.</summary>
    public static AssemblerRegister64[] Arguments { get; } = OperatingSystem.IsWindows()
        ? [AssemblerRegisters.rcx, AssemblerRegisters.rdx, AssemblerRegisters.r8, AssemblerRegisters.r9]
        : [AssemblerRegisters.rdi, AssemblerRegisters.rsi, AssemblerRegisters.rdx, AssemblerRegisters.rcx];

    /// <summary>Makes a routine; its address, or 0 where the system allows no new code.</summary>
    /// <param name="write">Writes all of it but its return, using vector and tile registers, <see cref="Arguments"/>, rax, r10, r11 and
    /// flags.</param>
    public static nint Make(Action<Assembler> write) =>
        OperatingSystem.IsLinux() || OperatingSystem.IsWindows() ? Install(Assemble(write)) : 0;

    /// <summary>The bytes of a routine, which may lie anywhere.</summary>
    internal static byte[] Assemble(Action<Assembler> write)
    {
        Assembler assembler = new(64);
        // Windows: the lower halves of xmm6 to xmm15 belong to the caller.
        const int Saved = 10, SavedBytes = (Saved * 16) + 8;
        if (OperatingSystem.IsWindows())
        {
            assembler.sub(AssemblerRegisters.rsp, SavedBytes);
            for (int i = 0; i < Saved; i++)
                assembler.movups(AssemblerRegisters.__xmmword_ptr[AssemblerRegisters.rsp + (16 * i)], new AssemblerRegisterXMM(Register.XMM6 + i));
        }
        write(assembler);
        assembler.vzeroupper();
        if (OperatingSystem.IsWindows())
        {
            for (int i = 0; i < Saved; i++)
                assembler.movups(new AssemblerRegisterXMM(Register.XMM6 + i), AssemblerRegisters.__xmmword_ptr[AssemblerRegisters.rsp + (16 * i)]);
            assembler.add(AssemblerRegisters.rsp, SavedBytes);
        }
        assembler.ret();
        using MemoryStream code = new();
        assembler.Assemble(new StreamCodeWriter(code), rip: 0);
        return code.ToArray();
    }

    /// <summary>Makes a routine where one was made before.</summary>
    /// <exception cref="InsufficientMemoryException">The system gives no memory.</exception>
    public static nint MakeAnother(Action<Assembler> write)
    {
        nint routine = Make(write);
        return routine != 0 ? routine : throw new InsufficientMemoryException(Say(
            "The system gave memory for a routine once, but not again.", "機械語を置くメモリーを、システムから 2 度目は得られませんでした。"));
    }

    private static nint Install(ReadOnlySpan<byte> code)
    {
        nuint bytes = (nuint)code.Length;
        if (OperatingSystem.IsWindows())
        {
            nint place = VirtualAlloc(0, bytes, MemCommitReserve, PageReadWrite);
            if (place == 0) return 0;
            code.CopyTo(new Span<byte>((void*)place, code.Length));
            if (VirtualProtect(place, bytes, PageExecuteRead, out _) != 0) return place;
            _ = VirtualFree(place, 0, MemRelease);
            return 0;
        }
        nint mapping = Map(0, bytes, ProtectRead | ProtectWrite, PrivateAnonymous, -1, 0);
        if (mapping == -1) return 0;
        code.CopyTo(new Span<byte>((void*)mapping, code.Length));
        if (Protect(mapping, bytes, ProtectRead | ProtectExecute) == 0) return mapping;
        _ = Unmap(mapping, bytes);
        return 0;
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Unmap(nint address, nuint length);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial nint VirtualAlloc(nint address, nuint size, uint type, uint protection);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int VirtualProtect(nint address, nuint size, uint protection, out uint before);

    [LibraryImport("kernel32")]
    [DefaultDllImportSearchPaths(DllImportSearchPath.System32)]
    private static partial int VirtualFree(nint address, nuint size, uint type);
}
