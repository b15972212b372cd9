namespace Fude.Tensors.Tests;

public sealed class InstructionSetsTests
{
    [Fact]
    public void The_fastest_supported_one_that_was_measured_is_chosen_unless_another_is_asked_for()
    {
        Assert.Equal("scalar", InstructionSets.Supported[0]);
        string fastest = InstructionSets.Supported.Last(name => name != "amx");
        Assert.Equal(fastest, InstructionSets.Choose(null));
        Assert.Equal(fastest, InstructionSets.Choose(""));
        foreach (string name in InstructionSets.Supported) Assert.Equal(name, InstructionSets.Choose(name));
    }

    [Theory, InlineData("sse9", "fude knows no such instruction set"), InlineData("AVX2", "fude knows no such instruction set")]
    public void One_that_is_not_possible_is_an_error_that_lists_those_that_are(string wanted, string why)
    {
        string message = Assert.Throws<NotSupportedException>(() => InstructionSets.Choose(wanted)).Message;
        Assert.Equal($"FUDE_ISA={wanted}: {why}. Possible here: {string.Join(", ", InstructionSets.Supported)}.", message);
    }

    [Fact]
    public void AMX_is_possible_or_it_is_said_what_is_missing()
    {
        if (AmxTile.Refusal is not { } why)
        {
            Assert.Equal("amx", InstructionSets.Supported[^1]);
            return;
        }
        Assert.DoesNotContain("amx", InstructionSets.Supported);
        if (System.Runtime.Intrinsics.X86.X86Base.IsSupported
            && (System.Runtime.Intrinsics.X86.X86Base.CpuId(7, 0).Edx & (1 << 24)) == 0) Assert.Equal("this processor lacks it", why);
        string message = Assert.Throws<NotSupportedException>(() => InstructionSets.Choose("amx")).Message;
        Assert.StartsWith($"FUDE_ISA=amx: {why}. Possible here: ", message, StringComparison.Ordinal);
        Assert.Throws<NotSupportedException>(() => CpuKernels.Of("amx"));
    }

    [Fact]
    public void Every_supported_instruction_set_has_kernels()
    {
        foreach (string name in InstructionSets.Supported)
        {
            using CpuOps ops = new(1, name);
            Assert.Equal(name, ops.InstructionSet);
        }
    }
}
