namespace Fude.Tensors.Tests;

public sealed class InstructionSetsTests
{
    [Fact]
    public void The_fastest_supported_one_is_chosen_unless_another_is_asked_for()
    {
        Assert.Equal("scalar", InstructionSets.Supported[0]);
        Assert.Equal(InstructionSets.Supported[^1], InstructionSets.Choose(null));
        Assert.Equal(InstructionSets.Supported[^1], InstructionSets.Choose(""));
        foreach (string name in InstructionSets.Supported) Assert.Equal(name, InstructionSets.Choose(name));
    }

    [Theory, InlineData("sse9", "knows no such"), InlineData("AVX2", "knows no such"), InlineData("amx", "does not use it yet")]
    public void One_that_is_not_possible_is_an_error_that_lists_those_that_are(string wanted, string why)
    {
        string message = Assert.Throws<NotSupportedException>(() => InstructionSets.Choose(wanted)).Message;
        Assert.StartsWith($"FUDE_ISA={wanted}: ", message, StringComparison.Ordinal);
        Assert.Contains(why, message, StringComparison.Ordinal);
        foreach (string name in InstructionSets.Supported) Assert.Contains(name, message, StringComparison.Ordinal);
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
