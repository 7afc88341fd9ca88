"""Providers: adapters to the engines that run models.

A provider manages lifecycles and says at which upstream an instance takes requests; it never sees a prompt.
"""
